//! What one aggregate's events ask of another. Each runs in the service that receives its commands.

use crate::cart::{self, Cart};
use crate::order::{self, Order, Reply};
use crate::payment::{self, Demand, Payment};
use crate::product::{self, Product};
use crate::replica::{self, Offer, Replica};
use crate::stock::{self, OrderLine, StockItem};
use crate::{OrderId, Policy};

/// Carts learn prices: every product change goes to every partition's replica.
pub struct CopyProduct;
impl Policy for CopyProduct {
    const NAME: &'static str = "copy-product";
    type Source = Product;
    type Target = Replica;

    fn react(subject: &str, event: &product::Event) -> Vec<(String, replica::Command)> {
        let command = match event {
            product::Event::Registered(details) | product::Event::Replaced(details) => {
                replica::Command::Copy(Offer { name: details.name.clone(), price: details.price, freight: details.freight, version: details.version.clone() })
            }
            product::Event::PriceChanged { price, .. } => replica::Command::CopyPrice(*price),
            product::Event::Withdrawn { .. } => replica::Command::CopyWithdrawal,
        };
        vec![(subject.to_owned(), command)]
    }
}

/// Stock follows the product's versions.
pub struct BindStock;
impl Policy for BindStock {
    const NAME: &'static str = "bind-stock";
    type Source = Product;
    type Target = StockItem;

    fn react(subject: &str, event: &product::Event) -> Vec<(String, stock::Command)> {
        let command = match event {
            product::Event::Registered(details) | product::Event::Replaced(details) => stock::Command::Bind { version: details.version.clone() },
            product::Event::Withdrawn { .. } => stock::Command::Withdraw,
            product::Event::PriceChanged { .. } => return vec![],
        };
        vec![(subject.to_owned(), command)]
    }
}

/// A checkout becomes an order.
pub struct PlaceOrder;
impl Policy for PlaceOrder {
    const NAME: &'static str = "place-order";
    type Source = Cart;
    type Target = Order;

    fn react(_: &str, event: &cart::Event) -> Vec<(String, order::Command)> {
        match event {
            cart::Event::CheckedOut(checkout) => vec![(checkout.order.to_string(), order::Command::Place(checkout.clone()))],
            _ => vec![],
        }
    }
}

/// An order's beginning reserves, its end takes or gives back.
pub struct ReserveStock;
impl Policy for ReserveStock {
    const NAME: &'static str = "reserve-stock";
    type Source = Order;
    type Target = StockItem;

    fn react(subject: &str, event: &order::Event) -> Vec<(String, stock::Command)> {
        let Ok(order) = subject.parse::<OrderId>() else { return vec![] };
        let each = |ending: &order::Ending, command: fn(OrderLine) -> stock::Command| {
            ending.lines.iter().map(|(line, product)| (product.to_string(), command(OrderLine { order, line: *line }))).collect()
        };
        match event {
            order::Event::Placed { checkout, .. } => checkout
                .lines
                .iter()
                .zip(0..)
                .map(|(line, at)| {
                    let of = OrderLine { order, line: at };
                    (line.product.to_string(), stock::Command::Reserve { of, quantity: line.quantity, version: line.version.clone() })
                })
                .collect(),
            order::Event::Paid(ending) => each(ending, |of| stock::Command::Confirm { of }),
            order::Event::PaymentFailed { ending, .. } | order::Event::Refused(ending) | order::Event::Expired(ending) => {
                each(ending, |of| stock::Command::Release { of })
            }
            _ => vec![],
        }
    }
}

/// Orders hear what stock could promise.
pub struct RecordReply;
impl Policy for RecordReply {
    const NAME: &'static str = "record-reply";
    type Source = StockItem;
    type Target = Order;

    fn react(_: &str, event: &stock::Event) -> Vec<(String, order::Command)> {
        let (of, reply) = match event {
            stock::Event::Reserved { of, .. } => (of, Reply::Reserved),
            stock::Event::Short { of, why, .. } => (of, Reply::Short(*why)),
            _ => return vec![],
        };
        vec![(of.order.to_string(), order::Command::RecordReply { line: of.line, reply })]
    }
}

/// An invoice asks for money; an order that gives up asks to cancel.
pub struct RequestPayment;
impl Policy for RequestPayment {
    const NAME: &'static str = "request-payment";
    type Source = Order;
    type Target = Payment;

    fn react(subject: &str, event: &order::Event) -> Vec<(String, payment::Command)> {
        let command = match event {
            order::Event::Invoiced { invoice, means } => {
                payment::Command::Capture(Demand { amount: invoice.total, means: means.clone(), vouchers: invoice.discounts.clone() })
            }
            order::Event::CancellationAsked => payment::Command::Cancel,
            _ => return vec![],
        };
        vec![(subject.to_owned(), command)]
    }
}

/// Orders hear how payment went.
pub struct RecordPayment;
impl Policy for RecordPayment {
    const NAME: &'static str = "record-payment";
    type Source = Payment;
    type Target = Order;

    fn react(subject: &str, event: &payment::Event) -> Vec<(String, order::Command)> {
        let command = match event {
            payment::Event::Captured(_) => order::Command::RecordCapture,
            payment::Event::Refused { why, .. } => order::Command::RecordDecline { why: *why },
            payment::Event::Cancelled => order::Command::RecordCancellation,
        };
        vec![(subject.to_owned(), command)]
    }
}

/// A cart is open again when its order has ended.
pub struct ReopenCart;
impl Policy for ReopenCart {
    const NAME: &'static str = "reopen-cart";
    type Source = Order;
    type Target = Cart;

    fn react(subject: &str, event: &order::Event) -> Vec<(String, cart::Command)> {
        use order::Event::{Expired, Paid, PaymentFailed, Refused};
        match (event, subject.parse::<OrderId>()) {
            (Paid(_) | PaymentFailed { .. } | Refused(_) | Expired(_), Ok(order)) => vec![(order.customer.to_string(), cart::Command::Reopen { order })],
            _ => vec![],
        }
    }
}
