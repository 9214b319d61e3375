//! A customer's cart: lines gather, a checkout sends them to an order at the price that holds.
//! Never waits for stock or payment; it is open again when its order has ended.

pub mod sample;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::customer::{Card, Person};
use crate::payment::Means;
use crate::product::PRICE_MINOR_MAX;
use crate::replica::ProductCopy;
use crate::text::json_bytes;
use crate::{Charge, CustomerId, ID_MAX, OrderId, ProductRef};
use kernel::{Aggregate, Context, Money, MoneyError, Origin, Personal};

/// Most lines of a cart.
pub const LINES_MAX: usize = 2_000;
/// Most pieces of a line.
pub const QUANTITY_MAX: u32 = 100_000;
/// Most that an order may cost with its freight, in minor units, before any discount: ten million such orders in progress
/// still add up in 64 bits.
pub const ORDER_MINOR_MAX: i64 = 900_000_000_000;
/// Most bytes of all names and versions in a cart, as JSON writes them: an order must fit a record.
pub const NAMES_BYTES_MAX: usize = 90_000;
/// Most bytes of a caller's reference, as JSON writes it.
pub const REFERENCE_BYTES_MAX: usize = 1_000;
const _: () = assert!(PRICE_MINOR_MAX as i128 * QUANTITY_MAX as i128 * LINES_MAX as i128 * 2 < i64::MAX as i128);

/// What the customer wants. Lines are keyed by product, price and whether that was agreed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// which product
    pub product: ProductRef,
    /// as it was called when last seen
    pub name: String,
    /// how many
    pub quantity: u32,
    /// the price of one when last seen, or as agreed
    pub unit_price: Money,
    /// for shipping the line
    pub freight: Money,
    /// a discount on the line, at most its total
    pub voucher: Money,
    /// the product's version when last seen, if known
    pub version: Option<String>,
    /// The price was agreed with the customer and holds whatever the catalog says.
    pub agreed: bool,
}

/// A line as it goes to an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PricedLine {
    /// which product
    pub product: ProductRef,
    /// the version it was priced with, if the catalog was heard of it
    pub version: Option<String>,
    /// its name
    pub name: String,
    /// how many
    pub quantity: u32,
    /// the price of one that holds
    pub unit_price: Money,
    /// for shipping the line
    pub freight: Money,
    /// a discount on the line, at most its total
    pub voucher: Money,
    /// the price the customer had last seen, where another holds now
    pub seen_price: Option<Money>,
}

/// Why a line did not come along to the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dropped {
    /// The product is no longer sold.
    Withdrawn,
    /// Its seller sells it in another currency by now.
    Currency,
}

/// How and to whom a checkout goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkout {
    /// who receives the goods
    pub buyer: Personal<Person>,
    /// how it is paid
    pub means: Means,
    /// the caller's own name for this sale, such as an invoice number
    pub reference: Option<String>,
}

/// A cart's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cart {
    /// what the next checkout will send
    pub lines: Vec<Line>,
    /// the order of the checkout that has not ended
    pub sent: Option<OrderId>,
    /// how many orders there have been
    pub orders: u64,
    /// callers' names of the additions to this cart, until it is sent or emptied
    pub references: BTreeSet<String>,
}

/// What can be asked of a cart.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Put lines in.
    Add {
        /// which
        lines: Vec<Line>,
        /// The caller's own name for this addition; one already in the cart is not added again.
        reference: Option<String>,
    },
    /// Buy what is in it.
    CheckOut(Checkout),
    /// Note a sale that was made elsewhere, at agreed prices. What is in the cart stays there.
    Record {
        /// what was sold
        lines: Vec<Line>,
        /// how and to whom
        checkout: Checkout,
    },
    /// Take everything out.
    Empty,
    /// Its order has ended.
    Reopen {
        /// which
        order: OrderId,
    },
}

/// What can have happened to a cart.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Lines were put in.
    Added {
        /// which
        lines: Vec<Line>,
        /// the caller's own name for this addition
        reference: Option<String>,
    },
    /// Its lines went to an order.
    CheckedOut(CheckedOut),
    /// A sale that was made elsewhere went to an order.
    Recorded(CheckedOut),
    /// Everything was taken out.
    Emptied,
    /// Its order has ended.
    Reopened {
        /// which
        order: OrderId,
    },
}

/// What an order begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedOut {
    /// the order it becomes
    pub order: OrderId,
    /// what is bought
    pub lines: Vec<PricedLine>,
    /// what was left behind, and why
    pub dropped: Vec<(ProductRef, Dropped)>,
    /// how and to whom
    pub checkout: Checkout,
    /// whose command this answers when the order has ended
    pub origin: Origin,
    /// The pieces come in with the order: stock receives them for it, and for nothing else.
    pub brought: bool,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The id is not a customer's number.
    #[error("a cart's id is its customer's number")]
    Id,
    /// A number too high.
    #[error("numbers of customers, sellers and products are at most {ID_MAX}")]
    Number,
    /// A price that the catalog, not the customer, would decide.
    #[error("product {product}: a sale that was made elsewhere has an agreed price")]
    NotAgreed {
        /// of which
        product: ProductRef,
    },
    /// Nothing to buy.
    #[error("the cart is empty")]
    Empty,
    /// Every line had to be dropped.
    #[error("none of the cart's {lines} lines can be bought any more")]
    NothingLeft {
        /// how many there are
        lines: usize,
    },
    /// The last checkout has not ended.
    #[error("the cart was sent to order {order}, which has not ended")]
    Sent {
        /// which
        order: OrderId,
    },
    /// The catalog has not told the cart of this product.
    #[error("product {product} is not known to the cart (yet): register it, or wait until the cart service has heard of it")]
    UnknownProduct {
        /// which
        product: ProductRef,
    },
    /// The product is no longer sold.
    #[error("product {product} is withdrawn")]
    Withdrawn {
        /// which
        product: ProductRef,
    },
    /// Too much for one cart.
    #[error("a cart holds at most {LINES_MAX} lines with {NAMES_BYTES_MAX} bytes of names and versions")]
    Full,
    /// No pieces, or too many.
    #[error("quantity {quantity} of product {product}: a line has 1 to {QUANTITY_MAX} pieces")]
    Quantity {
        /// of which
        product: ProductRef,
        /// how many there would be
        quantity: u64,
    },
    /// A price or discount that cannot be.
    #[error("product {product}: price, freight and voucher lie between 0 and {PRICE_MINOR_MAX} minor units of the cart's one currency")]
    Price {
        /// of which
        product: ProductRef,
    },
    /// More than an order may cost.
    #[error("an order costs at most {ORDER_MINOR_MAX} minor units")]
    Total,
    /// A text too long.
    #[error("a reference is at most {REFERENCE_BYTES_MAX} bytes, and a buyer's texts and card have the bounds of a customer's")]
    Text,
}

/// Whether a line's numbers are ones an order can add up.
pub(crate) fn amounts_fit(quantity: u32, amounts: &[Money], currency: kernel::Currency) -> bool {
    (1..=QUANTITY_MAX).contains(&quantity) && amounts.iter().all(|money| (0..=PRICE_MINOR_MAX).contains(&money.minor) && money.currency == currency)
}

/// Whether an order may cost what these lines do.
pub(crate) fn total_fits(lines: &[PricedLine]) -> bool {
    let cost = |line: &PricedLine| line.charge().and_then(|charge| charge.items.plus(charge.freight));
    let total = lines.iter().try_fold(0_i64, |sum, line| sum.checked_add(cost(line).ok()?.minor));
    total.is_some_and(|total| total <= ORDER_MINOR_MAX)
}

fn names_bytes<'l>(lines: impl Iterator<Item = (&'l String, Option<&'l String>)>) -> usize {
    lines.map(|(name, version)| json_bytes(name) + version.map_or(0, |version| json_bytes(version))).sum()
}

impl PricedLine {
    /// What it costs.
    pub fn charge(&self) -> Result<Charge, MoneyError> {
        Charge::of(self.quantity, self.unit_price, self.freight, self.voucher)
    }
}

impl Line {
    fn same_key(&self, other: &Self) -> bool {
        self.product == other.product && self.unit_price == other.unit_price && self.agreed == other.agreed && self.version == other.version
    }

    /// The line at the price that holds, or why it cannot be bought.
    pub fn priced(&self, replica: Option<&ProductCopy>) -> Result<PricedLine, Dropped> {
        let mut line = PricedLine {
            product: self.product,
            version: self.version.clone(),
            name: self.name.clone(),
            quantity: self.quantity,
            unit_price: self.unit_price,
            freight: self.freight,
            voucher: self.voucher,
            seen_price: None,
        };
        if replica.is_some_and(|replica| replica.withdrawn) {
            return Err(Dropped::Withdrawn);
        }
        if let Some(offer) = replica.and_then(|replica| replica.offer.as_ref()) {
            line.version = Some(offer.version.clone());
            if !self.agreed {
                if offer.price.currency != self.unit_price.currency {
                    return Err(Dropped::Currency);
                }
                (line.unit_price, line.freight) = (offer.price, offer.freight);
                line.seen_price = (offer.price != self.unit_price).then_some(self.unit_price);
            }
        }
        Ok(line)
    }
}

impl Cart {
    fn add(&self, mut lines: Vec<Line>, reference: Option<String>, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        if reference.as_ref().is_some_and(|reference| self.references.contains(reference)) || lines.is_empty() {
            return Ok(vec![]);
        }
        let sold = |line: &Line| match context.head::<ProductCopy>(&line.product.to_string()) {
            Some(replica) if replica.withdrawn => Err(Refusal::Withdrawn { product: line.product }),
            None if !line.agreed => Err(Refusal::UnknownProduct { product: line.product }),
            _ => Ok(()),
        };
        self.with(&mut lines, context)?;
        lines.iter().try_for_each(sold)?;
        if reference.as_ref().is_some_and(|text| json_bytes(text) > REFERENCE_BYTES_MAX) {
            return Err(Refusal::Text);
        }
        Ok(vec![Event::Added { lines, reference }])
    }

    /// The cart with these lines in it, if they fit; those without a name are given the product's.
    fn with(&self, lines: &mut [Line], context: &Context<'_>) -> Result<Self, Refusal> {
        // A customer from before there was a bound may go on.
        if *self == Self::default() && context.subject.parse().is_ok_and(|customer: u64| customer > ID_MAX) {
            return Err(Refusal::Number);
        }
        let mut after = self.clone();
        for line in lines {
            let product = line.product;
            let currency = after.lines.first().unwrap_or(line).unit_price.currency;
            if !product.is_in_range() {
                return Err(Refusal::Number);
            }
            if line.quantity == 0 {
                return Err(Refusal::Quantity { product, quantity: 0 });
            }
            if !amounts_fit(1, &[line.unit_price, line.freight, line.voucher], currency) {
                return Err(Refusal::Price { product });
            }
            if let Some(offer) = context.head::<ProductCopy>(&product.to_string()).and_then(|replica| replica.offer.clone()).filter(|_| line.name.is_empty()) {
                line.name = offer.name;
            }
            let merged = after.lines.iter().find(|known| known.same_key(line));
            let quantity = u64::from(line.quantity) + merged.map_or(0, |known| u64::from(known.quantity));
            if quantity > u64::from(QUANTITY_MAX) {
                return Err(Refusal::Quantity { product, quantity });
            }
            let voucher = merged.map_or(Ok(line.voucher), |known| known.voucher.plus(line.voucher));
            if voucher.is_ok_and(|voucher| voucher.minor <= PRICE_MINOR_MAX) {
                after.put(line);
            } else {
                return Err(Refusal::Price { product });
            }
        }
        let names = names_bytes(after.lines.iter().map(|line| (&line.name, line.version.as_ref())));
        if after.lines.len() > LINES_MAX || names > NAMES_BYTES_MAX { Err(Refusal::Full) } else { Ok(after) }
    }

    /// A sale that was made elsewhere is priced as a cart of its lines alone would be, and waits for no checkout.
    fn record(&self, mut lines: Vec<Line>, checkout: Checkout, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        if let Some(line) = lines.iter().find(|line| !line.agreed) {
            return Err(Refusal::NotAgreed { product: line.product });
        }
        let sale = Self { orders: self.orders, ..Self::default() }.with(&mut lines, context)?.priced(checkout, context)?;
        Ok(vec![Event::Recorded(CheckedOut { brought: true, ..sale })])
    }

    fn check_out(&self, checkout: Checkout, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        match self.sent {
            Some(order) => Err(Refusal::Sent { order }),
            None => Ok(vec![Event::CheckedOut(self.priced(checkout, context)?)]),
        }
    }

    /// What an order of all its lines begins with, at the prices that hold.
    fn priced(&self, checkout: Checkout, context: &Context<'_>) -> Result<CheckedOut, Refusal> {
        if self.lines.is_empty() {
            return Err(Refusal::Empty);
        }
        let card_fits = checkout.means.card.as_ref().is_none_or(Card::fits);
        if !checkout.buyer.fits(Person::fits) || !card_fits || checkout.reference.as_ref().is_some_and(|text| json_bytes(text) > REFERENCE_BYTES_MAX) {
            return Err(Refusal::Text);
        }
        let (mut lines, mut dropped) = (Vec::with_capacity(self.lines.len()), vec![]);
        for line in &self.lines {
            match line.priced(context.head::<ProductCopy>(&line.product.to_string()).as_deref()) {
                Ok(priced) => lines.push(priced),
                Err(why) => dropped.push((line.product, why)),
            }
        }
        if lines.is_empty() {
            return Err(Refusal::NothingLeft { lines: self.lines.len() });
        }
        if !total_fits(&lines) {
            return Err(Refusal::Total);
        }
        // The versions are the catalog's of now, and may be longer than those the lines came with.
        if names_bytes(lines.iter().map(|line| (&line.name, line.version.as_ref()))) > NAMES_BYTES_MAX {
            return Err(Refusal::Full);
        }
        let customer = CustomerId(context.subject.parse().map_err(|_| Refusal::Id)?);
        let order = OrderId { customer, number: self.orders.checked_add(1).ok_or(Refusal::Number)? };
        Ok(CheckedOut { order, lines, dropped, checkout, origin: context.origin.clone(), brought: false })
    }

    /// Puts a line in, which [`Cart::with`] found to fit: neither sum has room to be too large.
    fn put(&mut self, line: &Line) {
        match self.lines.iter_mut().find(|known| known.same_key(line)) {
            Some(known) => {
                known.quantity += line.quantity;
                known.voucher.minor += line.voucher.minor;
                known.freight = line.freight;
            }
            None => self.lines.push(line.clone()),
        }
    }
}

impl Aggregate for Cart {
    const NAME: &'static str = "cart";
    const STATE_VERSION: u8 = 2;
    const REFUSALS: &'static [&'static str] = &[
        "bad-id",
        "id-out-of-range",
        "price-not-agreed",
        "empty-cart",
        "nothing-left",
        "checkout-sent",
        "unknown-product",
        "withdrawn",
        "cart-full",
        "quantity-out-of-range",
        "price-out-of-range",
        "total-out-of-range",
        "text-out-of-range",
    ];
    type Id = crate::CustomerId;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Add { lines, reference } => self.add(lines, reference, context),
            Command::CheckOut(checkout) => self.check_out(checkout, context),
            Command::Record { lines, checkout } => self.record(lines, checkout, context),
            Command::Empty if self.lines.is_empty() => Ok(vec![]),
            Command::Empty => Ok(vec![Event::Emptied]),
            Command::Reopen { order } if self.sent == Some(order) => Ok(vec![Event::Reopened { order }]),
            Command::Reopen { .. } => Ok(vec![]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Added { lines, reference } => {
                lines.iter().for_each(|line| self.put(line));
                self.references.extend(reference.clone());
            }
            Event::CheckedOut(sent) => {
                self.lines.clear();
                self.references.clear();
                self.sent = Some(sent.order);
                self.orders = sent.order.number;
            }
            Event::Recorded(sale) => self.orders = sale.order.number,
            Event::Emptied => {
                self.lines.clear();
                self.references.clear();
            }
            Event::Reopened { .. } => self.sent = None,
        }
    }

    fn refusal_code(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Id => "bad-id",
            Refusal::Number => "id-out-of-range",
            Refusal::NotAgreed { .. } => "price-not-agreed",
            Refusal::Empty => "empty-cart",
            Refusal::NothingLeft { .. } => "nothing-left",
            Refusal::Sent { .. } => "checkout-sent",
            Refusal::UnknownProduct { .. } => "unknown-product",
            Refusal::Withdrawn { .. } => "withdrawn",
            Refusal::Full => "cart-full",
            Refusal::Quantity { .. } => "quantity-out-of-range",
            Refusal::Price { .. } => "price-out-of-range",
            Refusal::Total => "total-out-of-range",
            Refusal::Text => "text-out-of-range",
        }
    }

    fn answered_later(command: &Command) -> bool {
        matches!(command, Command::CheckOut(_) | Command::Record { .. })
    }
}
