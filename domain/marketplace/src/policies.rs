//! What one aggregate's events ask of another. Each runs in the service that receives its commands.

use std::collections::{BTreeMap, BTreeSet};

use crate::cart::{self, Cart};
use crate::delivery::{self, DeliveryRun};
use crate::order::{self, Order, Reply};
use crate::payment::{self, Demand, Payment};
use crate::product::{self, Product};
use crate::replica::{self, Offer, ProductCopy};
use crate::sale::{self, Sale};
use crate::shipment::{self, Shipment};
use crate::stock::{self, OrderLine, StockItem};
use crate::{OrderId, SellerId};
use kernel::Policy;

/// Carts learn prices: every product change goes to every partition's replica.
pub struct CopyProduct;
impl Policy for CopyProduct {
    const NAME: &'static str = "copy-product";
    type Source = Product;
    type Target = ProductCopy;

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
            cart::Event::CheckedOut(checkout) | cart::Event::Recorded(checkout) => vec![(checkout.order.to_string(), order::Command::Place(checkout.clone()))],
            _ => vec![],
        }
    }
}

/// An order's beginning reserves, its end takes or gives back, its refunds bring back.
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
                    (
                        line.product.to_string(),
                        stock::Command::Reserve { of, quantity: line.quantity, version: line.version.clone(), brought: checkout.brought },
                    )
                })
                .collect(),
            order::Event::Paid(ending) => each(ending, |of| stock::Command::Confirm { of }),
            order::Event::PaymentFailed { ending, .. } | order::Event::Refused(ending) | order::Event::Expired(ending) => {
                each(ending, |of| stock::Command::Release { of })
            }
            order::Event::Refunded { refund, lines, .. } => lines
                .iter()
                .map(|back| {
                    let of = OrderLine { order, line: back.line };
                    (back.product.to_string(), stock::Command::Return { of, refund: *refund, quantity: back.quantity })
                })
                .collect(),
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

/// An invoice asks for money; an order that gives up asks to cancel; a refund asks for some of it back.
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
            order::Event::RefundAsked { refund, amount, .. } => payment::Command::Refund { refund: *refund, amount: *amount },
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
            payment::Event::Refunded { refund, .. } => order::Command::RecordRefund { refund: *refund },
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

/// A paid order is sent; what was returned whole is called back, if it is still on its way.
pub struct SendPackages;
impl Policy for SendPackages {
    const NAME: &'static str = "send-packages";
    type Source = Order;
    type Target = Shipment;

    fn react(subject: &str, event: &order::Event) -> Vec<(String, shipment::Command)> {
        let command = match event {
            order::Event::Paid(ending) => shipment::Command::Create { lines: ending.lines.clone() },
            order::Event::Refunded { lines, .. } => {
                let whole: Vec<u32> = lines.iter().filter(|back| back.kept == 0).map(|back| back.line).collect();
                if whole.is_empty() {
                    return vec![];
                }
                shipment::Command::Cancel { lines: whole }
            }
            _ => return vec![],
        };
        vec![(subject.to_owned(), command)]
    }
}

/// Orders hear how their shipment goes.
pub struct RecordShipment;
impl Policy for RecordShipment {
    const NAME: &'static str = "record-shipment";
    type Source = Shipment;
    type Target = Order;

    fn react(subject: &str, event: &shipment::Event) -> Vec<(String, order::Command)> {
        let command = match event {
            shipment::Event::Created { .. } => order::Command::RecordShipment,
            shipment::Event::Delivered { line, .. } => order::Command::RecordDelivery { line: *line },
            shipment::Event::Cancelled { .. } => return vec![],
        };
        vec![(subject.to_owned(), command)]
    }
}

/// What a run of "update delivery" chose is delivered.
pub struct DeliverChosen;
impl Policy for DeliverChosen {
    const NAME: &'static str = "deliver-chosen";
    type Source = DeliveryRun;
    type Target = Shipment;

    fn react(_: &str, delivery::Event::Chosen { packages }: &delivery::Event) -> Vec<(String, shipment::Command)> {
        packages.iter().map(|chosen| (chosen.order.to_string(), shipment::Command::Deliver { lines: chosen.lines.clone() })).collect()
    }
}

/// Sellers hear of their lines: an order's events by seller, in their order.
pub struct ShareSales;
impl Policy for ShareSales {
    const NAME: &'static str = "share-sales";
    type Source = Order;
    type Target = Sale;

    fn react(subject: &str, event: &order::Event) -> Vec<(String, sale::Command)> {
        let id = |seller: SellerId| format!("{seller}-{subject}");
        let by_seller = |ending: &order::Ending| {
            let mut lines = BTreeMap::<SellerId, Vec<u32>>::new();
            ending.lines.iter().for_each(|(line, product)| lines.entry(product.seller).or_default().push(*line));
            lines
        };
        match event {
            order::Event::Placed { checkout, .. } => {
                let mut lines = BTreeMap::<SellerId, Vec<sale::Line>>::new();
                for (line, sold) in (0..).zip(&checkout.lines) {
                    lines.entry(sold.product.seller).or_default().push(sale::Line::of(line, sold));
                }
                lines.into_iter().map(|(seller, lines)| (id(seller), sale::Command::Open { lines })).collect()
            }
            order::Event::Paid(ending) => by_seller(ending).into_iter().map(|(seller, lines)| (id(seller), sale::Command::Pay { lines })).collect(),
            order::Event::PaymentFailed { ending, .. } | order::Event::Expired(ending) => {
                by_seller(ending).into_keys().map(|seller| (id(seller), sale::Command::Close)).collect()
            }
            order::Event::Shipped { lines } => {
                let sellers: BTreeSet<SellerId> = lines.iter().map(|(_, product)| product.seller).collect();
                sellers.into_iter().map(|seller| (id(seller), sale::Command::Ship)).collect()
            }
            order::Event::LineDelivered { line, product } => vec![(id(product.seller), sale::Command::Deliver { line: *line })],
            order::Event::Refunded { lines, .. } => {
                lines.iter().map(|back| (id(back.product.seller), sale::Command::Return { line: back.line, kept: back.kept, settled: back.settled })).collect()
            }
            _ => vec![],
        }
    }
}
