//! Refunds as the orders have them, held against the file's cancellations. An invoice and a stock code name one: what
//! was refunded under that name is never refunded again, whatever the file says of it now.

use std::collections::{BTreeMap, BTreeSet};

use super::lines::{Line, Returned};

/// Why a cancellation is not refunded: it was, with other pieces or for another customer.
pub const OTHERWISE: &str = "refunded_otherwise";

/// A refund as its order has it.
#[derive(Clone, Debug)]
pub struct Made {
    /// whose
    pub order: String,
    /// `<invoice>/<stock code>/<n>`, if it is of a history
    pub reference: String,
    /// place in the order, and pieces
    pub lines: Vec<(usize, u32)>,
    /// for how much
    pub amount: String,
    /// of the amount
    pub currency: String,
}

/// What is there of the file's cancellations.
#[derive(Debug, Default)]
pub struct Held {
    /// cancellations by their line: refunded as the file says, or otherwise
    pub lines: BTreeMap<u64, Option<Made>>,
    /// what orders have that the file has not, of invoices that are in the file
    pub besides: Vec<Made>,
}

/// An invoice and a stock code.
type Name = (String, String);

fn name(invoice: &str, code: &str) -> Name {
    (invoice.trim().to_ascii_uppercase(), code.trim().to_ascii_uppercase())
}

impl Made {
    /// The reference of a cancellation's refund: not its place in the file, which another file may have elsewhere.
    pub fn reference(line: &Line, count: usize) -> String {
        format!("{}/{}/{count}", line.invoice.trim(), line.code.trim())
    }

    /// The cancellation it was made for. Its invoice may hold any sign.
    fn name(&self) -> Option<Name> {
        let (named, count) = self.reference.rsplit_once('/')?;
        let (invoice, code) = named.rsplit_once('/')?;
        count.parse::<u32>().ok().map(|_| name(invoice, code))
    }

    fn is_of(&self, back: &Returned) -> bool {
        let pieces = matches!(self.lines[..], [(_, pieces)] if pieces == back.quantity);
        pieces && self.currency == back.price.currency.code() && self.order.starts_with(&format!("{}-", back.customer))
    }
}

/// Holds a seller's refunds against the lines of the file.
pub fn hold<'m>(lines: &[Line], made: impl Iterator<Item = &'m Made>) -> Held {
    let mut left: BTreeMap<Name, Vec<&Made>> = BTreeMap::new();
    for (name, made) in made.filter_map(|made| Some((made.name()?, made))) {
        left.entry(name).or_default().push(made);
    }
    let mut held = Held::default();
    let cancellations = || lines.iter().filter_map(|line| Some((line.number, name(&line.invoice, &line.code), line.returned.as_ref()?)));
    for (number, name, back) in cancellations() {
        let Some(left) = left.get_mut(&name) else { continue };
        let Some(at) = left.iter().position(|made| made.is_of(back)) else { continue };
        held.lines.insert(number, Some(left.remove(at).clone()));
    }
    // Only then: a line that was mended must not take what another line was refunded with.
    for (number, name, _) in cancellations() {
        let Some(left) = left.get_mut(&name).filter(|left| !left.is_empty() && !held.lines.contains_key(&number)) else { continue };
        held.besides.push(left.remove(0).clone());
        held.lines.insert(number, None);
    }
    let invoices: BTreeSet<String> = lines.iter().filter(|line| line.cancels()).map(|line| name(&line.invoice, "").0).collect();
    held.besides.extend(left.into_iter().filter(|((invoice, _), _)| invoices.contains(invoice)).flat_map(|(_, left)| left).cloned());
    held
}
