//! An order: carries a checkout to its end, all or nothing, and alone owns its deadline.
//! Reservations are given back only by its end; nothing is paid and unreserved.

mod invariant;
pub mod messages;
mod refund;
pub mod sample;
pub mod state;

use crate::cart::{CheckedOut, LINES_MAX, PricedLine, amounts_fit, total_fits};
use kernel::{Aggregate, Context, Currency, Money, MoneyError, Origin, Timestamp};

pub use messages::{Command, Ending, Event, Refusal};
pub use state::{Invoice, Line, Order, REFUNDS_MAX, Refund, Reply, Returned, Settled, Status};

/// How long, in log time, a checkout may take before its order asks to cancel it.
pub const CHECKOUT_SECONDS_MAX: i64 = 120;

impl Order {
    fn currency(&self) -> Option<Currency> {
        self.lines.first().map(|line| line.sold.unit_price.currency)
    }

    fn place(&self, checkout: CheckedOut, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        if self.status != Status::New {
            let same = checkout.lines.iter().eq(self.lines.iter().map(|line| &line.sold)) && checkout.origin == self.origin;
            return if same { Ok(vec![]) } else { Err(Refusal::Placed) };
        }
        let currency = checkout.lines.first().map(|line| line.unit_price.currency).ok_or(Refusal::Amounts)?;
        let fits = |line: &PricedLine| amounts_fit(line.quantity, &[line.unit_price, line.freight, line.voucher], currency);
        if checkout.lines.len() > LINES_MAX || !checkout.lines.iter().all(fits) || !total_fits(&checkout.lines) {
            return Err(Refusal::Amounts);
        }
        Ok(vec![Event::Placed { checkout, placed_at: context.occurred_at, deadline: context.now.plus_seconds(CHECKOUT_SECONDS_MAX) }])
    }

    fn record(&self, number: u32, reply: Reply, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let line = self.lines.get(index).ok_or(Refusal::Line { line: number, lines: self.lines.len() })?;
        if self.status != Status::Reserving || line.reply != Reply::Awaited || reply == Reply::Awaited {
            return Ok(vec![]); // a repeat, or an answer to an order that gave up: its end gives the pieces back
        }
        let mut events = vec![match reply {
            Reply::Short(why) => Event::LineShort { line: number, why },
            _ => Event::LineReserved { line: number },
        }];
        if self.awaited == 1 {
            let reserved = |(at, line): (usize, &Line)| if at == index { reply == Reply::Reserved } else { line.reply == Reply::Reserved };
            let lines: Vec<&PricedLine> = self.lines.iter().enumerate().filter(|&each| reserved(each)).map(|(_, line)| &line.sold).collect();
            events.push(match (&self.means, lines.is_empty()) {
                (Some(means), false) => Event::Invoiced { invoice: self.invoice(&lines, context).map_err(|_| Refusal::Amounts)?, means: means.clone() },
                _ => Event::Refused(self.ending()),
            });
        }
        Ok(events)
    }

    fn invoice(&self, lines: &[&PricedLine], context: &Context<'_>) -> Result<Invoice, MoneyError> {
        let zero = Money::zero(self.currency().unwrap_or(Currency::USD));
        let (mut items, mut freight, mut total, mut discounts) = (zero, zero, zero, vec![]);
        for line in lines {
            let charge = line.charge()?;
            items = items.plus(charge.items)?;
            freight = freight.plus(charge.freight)?;
            total = total.plus(charge.total()?)?;
            if charge.discount.minor > 0 {
                discounts.push(charge.discount);
            }
        }
        let (customer, number) = context.subject.split_once('-').unwrap_or((context.subject, "1"));
        Ok(Invoice { number: format!("{customer}-{}-{number}", self.placed_at.yyyymmdd()), items, freight, discounts, total })
    }

    fn ending(&self) -> Ending {
        let may_hold =
            |(at, line): (usize, &Line)| (!matches!(line.reply, Reply::Short(_))).then(|| (u32::try_from(at).unwrap_or(u32::MAX), line.sold.product));
        Ending { lines: self.lines.iter().enumerate().filter_map(may_hold).collect(), origin: self.origin.clone() }
    }

    /// Ends the order if it waits for payment; a repeat after its end is no news.
    fn end(&self, event: impl FnOnce(Ending) -> Event) -> Result<Vec<Event>, Refusal> {
        match self.status {
            Status::Invoiced | Status::Cancelling => Ok(vec![event(self.ending())]),
            ended if ended.ended() => Ok(vec![]),
            status => Err(Refusal::NotAwaited { status }),
        }
    }
}

impl Aggregate for Order {
    const NAME: &'static str = "order";
    const STATE_VERSION: u8 = 4;
    const REFUSALS: &'static [&'static str] = &[
        "already-placed",
        "unknown-order",
        "unknown-line",
        "amounts-out-of-range",
        "not-due",
        "not-awaited",
        "not-paid",
        "over-returned",
        "reference-used",
        "refund-out-of-range",
    ];
    type Id = crate::OrderId;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Place(checkout) => self.place(checkout, context),
            _ if self.status == Status::New => Err(Refusal::Unknown),
            Command::RecordReply { line, reply } => self.record(line, reply, context),
            Command::RecordCapture => self.end(Event::Paid),
            Command::RecordDecline { why } => self.end(|ending| Event::PaymentFailed { why, ending }),
            Command::RecordCancellation => self.end(Event::Expired),
            Command::Expire if self.status >= Status::Cancelling => Ok(vec![]),
            Command::Expire if context.now < self.deadline => Err(Refusal::NotDue { deadline: self.deadline }),
            Command::Expire => Ok(vec![Event::CancellationAsked]),
            Command::Refund { reference, lines } => self.ask_refund(reference, &lines),
            Command::RecordRefund { refund } => self.record_refund(refund),
            Command::RecordShipment => self.record_shipment(),
            Command::RecordDelivery { line } => self.record_delivery(line),
            Command::Abandon if self.status.ended() => Err(Refusal::NotAwaited { status: self.status }),
            Command::Abandon if self.status == Status::Cancelling => Ok(vec![]),
            Command::Abandon => Ok(vec![Event::CancellationAsked]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Placed { checkout, placed_at, deadline } => {
                self.status = Status::Reserving;
                self.lines =
                    checkout.lines.iter().map(|sold| Line { sold: sold.clone(), reply: Reply::Awaited, returned: 0, left: None, delivered: false }).collect();
                self.awaited = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
                self.buyer = checkout.checkout.buyer.clone();
                self.means = Some(checkout.checkout.means.clone());
                self.origin = checkout.origin.clone();
                (self.placed_at, self.deadline) = (*placed_at, *deadline);
            }
            Event::LineReserved { line } => self.answered(*line, Reply::Reserved),
            Event::LineShort { line, why } => self.answered(*line, Reply::Short(*why)),
            Event::Invoiced { invoice, .. } => {
                self.status = Status::Invoiced;
                self.invoice = Some(invoice.clone());
            }
            Event::CancellationAsked => self.status = Status::Cancelling,
            Event::Paid(_) => self.status = Status::Paid,
            Event::PaymentFailed { .. } => self.status = Status::PaymentFailed,
            Event::Refused(_) => self.status = Status::Refused,
            Event::Expired(_) => self.status = Status::Expired,
            Event::RefundAsked { reference, lines, amount, .. } => self.refund_asked(reference, lines, *amount),
            Event::Refunded { refund, .. } => self.refunded(*refund),
            Event::Shipped { .. } => self.shipped = true,
            Event::LineDelivered { line, .. } => self.delivered(*line),
        }
    }

    fn invariant(&self) -> Result<(), String> {
        self.adds_up()
    }

    fn refusal_code(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Placed => "already-placed",
            Refusal::Unknown => "unknown-order",
            Refusal::Line { .. } => "unknown-line",
            Refusal::Amounts => "amounts-out-of-range",
            Refusal::NotDue { .. } => "not-due",
            Refusal::NotAwaited { .. } => "not-awaited",
            Refusal::NotPaid { .. } => "not-paid",
            Refusal::OverReturned { .. } => "over-returned",
            Refusal::ReferenceUsed { .. } => "reference-used",
            Refusal::Refund => "refund-out-of-range",
        }
    }

    fn answers(event: &Event) -> Option<&Origin> {
        match event {
            Event::Paid(ending) | Event::PaymentFailed { ending, .. } | Event::Refused(ending) | Event::Expired(ending) => Some(&ending.origin),
            _ => None,
        }
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        matches!(self.status, Status::Reserving | Status::Invoiced).then_some((self.deadline, Command::Expire))
    }

    fn awaits(&self) -> Option<String> {
        const NAMED_MAX: usize = 20;
        match self.status {
            Status::Reserving => {
                let awaited = self.lines.iter().enumerate().filter(|(_, line)| line.reply == Reply::Awaited).map(|(at, _)| at.to_string());
                let named: Vec<String> = awaited.take(NAMED_MAX).collect();
                let more = if self.awaited as usize > named.len() { " and others" } else { "" };
                Some(format!("stock's answer for line {}{more}", named.join(", ")))
            }
            Status::Invoiced => Some("payment's answer".to_owned()),
            Status::Cancelling => Some("payment's decision on cancelling".to_owned()),
            _ => self.refunds.iter().find(|refund| !refund.done).map(|refund| format!("payment's giving back of refund {}", refund.reference)),
        }
    }

    fn abandon() -> Option<Command> {
        Some(Command::Abandon)
    }
}

impl Order {
    fn answered(&mut self, line: u32, reply: Reply) {
        if let Some(line) = self.lines.get_mut(usize::try_from(line).unwrap_or(usize::MAX)) {
            line.reply = reply;
            self.awaited = self.awaited.saturating_sub(1);
        }
    }
}
