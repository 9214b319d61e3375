//! Promises about trimming: what is decided can be deleted, what is not cannot, and nobody who goes on notices.

use schemas::{Partition, Topic};

use super::world::{Checked, Promise, World, batch, batch_of, commit, committed, message, quiet, said, texts, that};
use crate::log::{Limits, Offset};

pub(super) const PROMISES: &[Promise] = &[
    Promise { name: "what is decided can be trimmed", check: decided },
    Promise { name: "what is not decided cannot be trimmed", check: undecided },
    Promise { name: "only commands are trimmed", check: events },
];

/// Commands of the check's own service: its group has the service's name.
fn commands(world: &World<'_>, count: usize) -> Checked<(Topic, Vec<Offset>)> {
    let topic = world.topic("commands")?;
    let told = world.append((0..count).map(|n| message(&topic, 0, &n.to_string())).collect())?;
    Ok((topic, told))
}

fn trim(world: &World<'_>, topic: &Topic, before: Offset) -> Checked<Offset> {
    world.log()?.trim(topic, Partition(0), before).map_err(|why| said(&why))
}

fn start(world: &World<'_>, topic: &Topic) -> Checked<Offset> {
    world.log()?.start(topic, Partition(0)).map_err(|why| said(&why))
}

/// That nothing before `next` is there, and the records from it on are.
fn begins(world: &World<'_>, topic: &Topic, told: &[Offset], next: Offset) -> Checked<()> {
    let begins = start(world, topic)?;
    that(begins == next, || format!("trimmed before {next}, it begins at {begins}"))?;
    if let Some(first) = told.first().filter(|first| **first < next) {
        let read = world.log()?.read(topic, Partition(0), *first, Limits::default());
        let missed = read.as_ref().map_or(true, |page| page.records.iter().all(|record| record.offset >= next));
        that(missed, || format!("what was trimmed is still read: {read:?}"))?;
    }
    let (found, kept): (Vec<Offset>, Vec<Offset>) =
        (world.all(topic, 0)?.iter().map(|record| record.offset).collect(), told.iter().copied().filter(|offset| *offset >= next).collect());
    that(found == kept, || format!("records at {kept:?} were to be kept, at {found:?} there are some"))
}

fn decided(world: &mut World<'_>) -> Checked<()> {
    let (topic, mut told) = commands(world, 5)?;
    let mut member = world.join(&[&topic], "a")?;
    let polled = batch_of(member.as_mut(), 5)?;
    committed(commit(member.as_mut(), vec![], &polled)?)?;
    let next = world.committed(&topic, 0)?.ok_or("nothing is committed")?;
    // Some of it, all of it, all of it again, some of it again: the furthest counts.
    for (before, expected) in [(told[2], told[2]), (next, next), (next, next), (told[1], next)] {
        let begins_at = trim(world, &topic, before)?;
        that(begins_at == expected, || format!("a trim before {before} answered that it begins at {begins_at}, not {expected}"))?;
        begins(world, &topic, &told, expected)?;
    }
    // The member goes on where it was, and so does the next one, after a restart.
    told.extend(world.append(vec![message(&topic, 0, "later"), message(&topic, 0, "last")])?);
    let polled = batch_of(member.as_mut(), 2)?;
    that(texts(&polled.records) == ["later", "last"], || format!("after a trim {:?} was polled", texts(&polled.records)))?;
    drop(member);
    world.restart()?;
    begins(world, &topic, &told, next)?;
    let mut member = world.join(&[&topic], "a")?;
    let polled = batch_of(member.as_mut(), 2)?;
    that(texts(&polled.records) == ["later", "last"], || format!("after a trim and a restart {:?} was polled", texts(&polled.records)))?;
    committed(commit(member.as_mut(), vec![], &polled)?)?;
    // Everything gone, and the offsets do not begin again.
    let next = world.committed(&topic, 0)?.ok_or("nothing is committed")?;
    trim(world, &topic, next)?;
    drop(member);
    world.restart()?;
    begins(world, &topic, &told, next)?;
    let new = world.append(vec![message(&topic, 0, "new")])?;
    that(new.first() >= Some(&next), || format!("after everything was trimmed a record was written at {new:?}, before {next}"))?;
    let mut member = world.join(&[&topic], "a")?;
    let polled = batch(member.as_mut())?;
    that(texts(&polled.records) == ["new"], || format!("after everything was trimmed {:?} was polled", texts(&polled.records)))?;
    committed(commit(member.as_mut(), vec![], &polled)?)?;
    quiet(member.as_mut())
}

fn undecided(world: &mut World<'_>) -> Checked<()> {
    let (topic, told) = commands(world, 3)?;
    let refused = |before: Offset, when: &str| {
        let trimmed = world.log()?.trim(&topic, Partition(0), before);
        that(trimmed.as_ref().is_err_and(|why| why.to_string().contains(topic.as_str())), || format!("a trim {when} answered {trimmed:?}"))?;
        that(texts(&world.all(&topic, 0)?).len() == told.len(), || format!("a trim {when} deleted records"))
    };
    refused(told[1], "of what nobody has committed")?;
    let mut member = world.join(&[&topic], "a")?;
    let polled = batch_of(member.as_mut(), 3)?;
    refused(told[1], "of what was polled and not committed")?;
    let first = vec![(topic.clone(), Partition(0), told[0].next())];
    committed(member.commit(vec![], &first, &polled.assignment).map_err(|why| said(&why))?)?;
    refused(told[2], "past the committed position")
}

fn events(world: &mut World<'_>) -> Checked<()> {
    let topic = world.topic("events")?;
    let told = world.append(vec![message(&topic, 0, "x"), message(&topic, 0, "y")])?;
    let mut member = world.join(&[&topic], "a")?;
    let polled = batch_of(member.as_mut(), 2)?;
    committed(commit(member.as_mut(), vec![], &polled)?)?;
    let trimmed = world.log()?.trim(&topic, Partition(0), told[1]);
    that(trimmed.as_ref().is_err_and(|why| why.to_string().contains(topic.as_str())), || format!("a trim of events answered {trimmed:?}"))?;
    begins(world, &topic, &told, start(world, &topic)?)?;
    that(world.all(&topic, 0)?.len() == told.len(), || "events were trimmed".to_owned())
}
