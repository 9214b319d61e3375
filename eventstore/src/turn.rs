//! One batch's decisions: from records to what is to be written. Effects are values here; nothing is sent.
//!
//! Here commands come in: from records, from events that policies react to, from deadlines. A file below uses only those
//! after it: `deciding`, `letters`, `incoming`, `batch`, `effects`, `written` and `asked`.

use schemas::envelope::caused_id;
use schemas::{Envelope, partition_of};

use crate::caught::caught;
use crate::heads::{Timer, Woken};
use crate::log::{Record, Stuck};
use crate::reactions::{caused, reactions_to};
use crate::stop::Stop;

mod asked;
mod batch;
mod deciding;
mod effects;
mod incoming;
mod letters;
mod written;

pub use asked::{TELL, TELL_DECISION, UNSCOPED};
pub use batch::{Decision, Turn};
pub use written::{End, Written};

use asked::{Asked, Came};
use effects::Effect;
use incoming::Unread;

impl Turn<'_> {
    /// A record of the own command topic.
    pub fn take_command(&mut self, record: &Record) -> Result<(), Stop> {
        match self.read_command(record) {
            Ok((asked, command)) => self.answer(&asked, command),
            Err(Unread::Letter(reason, detail)) => self.dead_letter(record, reason, &detail),
            Err(Unread::Stop(stop)) => Err(stop),
        }
    }

    /// A record of a foreign events topic with the same routing keys: its policies' commands are decided at once.
    pub fn take_event(&mut self, record: &Record) -> Result<(), Stop> {
        if let Some(why) = self.heads.passes_over(record) {
            tracing::warn!(service = self.service.name, topic = %record.topic, partition = record.partition.0, offset = record.offset.0, why, "passed over");
            return Ok(());
        }
        if let Some(why) = record.envelope().ok().and_then(|envelope| self.heads.misplaced(record, envelope)) {
            return Err(Stop::Partition(Box::new(Stuck::at(record, why))));
        }
        for (reaction, envelope, commands) in reactions_to(&self.service.direct, record, &mut self.notes)? {
            let commands = match commands {
                Ok(commands) => commands,
                Err(panic) => {
                    self.dead_letter_reaction(record, reaction.policy, &panic);
                    continue;
                }
            };
            for (index, (target, command)) in commands.into_iter().enumerate() {
                let wrong = |what: &str| Stop::Partition(Box::new(Stuck::at(record, format!("policy {}: {what} {target}", reaction.policy))));
                if partition_of((self.rules.routing_key)(&target).as_bytes(), self.partitions) != record.partition {
                    return Err(wrong("needs a router: another partition owns"));
                }
                let handler = self.service.handler(reaction.target).ok_or_else(|| wrong("commands an aggregate that is not owned here:"))?;
                let kind = match caught(|| handler.encode_command(&command)) {
                    Ok(encoded) => encoded.ok_or_else(|| wrong("made a command of another aggregate for"))?.0,
                    Err(panic) => {
                        self.dead_letter_reaction(record, reaction.policy, &panic);
                        continue;
                    }
                };
                let asked = caused(reaction, self.service.name, envelope, caused_id(&envelope.id, reaction.policy, index), kind, &target);
                let came = Came::Event(record, reaction.policy);
                self.answer(&Asked::inside(record.partition, (self.rules.routing_key)(&target).as_bytes(), asked, came), command)?;
            }
        }
        Ok(())
    }

    /// An aggregate whose deadline has come.
    pub fn wake(&mut self, timer: &Timer) -> Result<Woken, Stop> {
        let Timer { partition, aggregate, id, .. } = timer;
        let (partition, service, now) = (*partition, self.service, self.now(timer.partition)?);
        let Some(handler) = service.handler(aggregate) else { return Ok(Woken::Nothing) };
        let (_, state) = self.heads.head(partition, handler, id)?;
        let asked = caught(|| {
            let (due, command) = handler.deadline(&state).filter(|(due, _)| *due <= now)?;
            let (kind, body) = handler.encode_command(&command)?;
            Some((due, command, kind, body))
        });
        drop(state);
        let Some((due, command, kind, body)) = asked.map_err(|panic| self.heads.broken(partition, handler, id, &panic))? else {
            return Ok(Woken::Nothing);
        };
        let cause = caused_id(&format!("{aggregate}/{id}"), "deadline", usize::try_from(due.0).unwrap_or(0));
        let mut envelope = Envelope::new(cause.clone(), format!("/{}/deadline", service.name), kind, id);
        envelope.causation = Some(cause);
        let before = self.effects.len();
        self.answer(&Asked::inside(partition, (self.rules.routing_key)(id).as_bytes(), envelope, Came::Deadline(timer, body)), command)?;
        Ok(match self.effects.get(before) {
            None => Woken::Nothing,
            Some(Effect::DeadLetter(_)) => Woken::Buried,
            Some(_) => Woken::Something,
        })
    }
}
