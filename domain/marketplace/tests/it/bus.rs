//! The whole marketplace without a log: aggregates and policies over queues that keep each pair's order, delivered in
//! any interleaving and each command twice in a row. What is left when all is quiet must add up.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use domain::cart::{self, Cart};
use domain::customer::{Card, Person};
use domain::order::{self, Order, Status};
use domain::payment::{self, Means, Method, Payment, REFUSED_TOKEN};
use domain::policies::{PlaceOrder, RecordPayment, RecordReply, RecordShipment, ReopenCart, RequestPayment, ReserveStock, SendPackages, ShareSales};
use domain::replica::ProductCopy;
use domain::sale::{self, Sale};
use domain::shipment::{self, Shipment};
use domain::stock::{self, StockItem};
use domain::{Aggregate, Context, Currency, Heads, Money, NoHeads, Origin, Policy, ProductId, ProductRef, SellerId, Source, Timestamp};
use kernel::Personal;
use proptest::prelude::*;

enum Mail {
    Cart(String, cart::Command),
    Order(String, order::Command),
    Payment(String, payment::Command),
    Stock(String, stock::Command),
    Shipment(String, shipment::Command),
    Sale(String, sale::Command),
}

const WAYS: usize = 11;

#[derive(Default)]
struct Market {
    carts: BTreeMap<String, Cart>,
    orders: BTreeMap<String, Order>,
    payments: BTreeMap<String, Payment>,
    items: BTreeMap<String, StockItem>,
    shipments: BTreeMap<String, Shipment>,
    sales: BTreeMap<String, Sale>,
    /// orders of sales that were made elsewhere
    brought: BTreeSet<String>,
    /// one queue for each way between two services
    mail: [VecDeque<Mail>; WAYS],
    now: Timestamp,
}

struct Known;
impl Heads for Known {
    fn head(&self, _: &'static str, _: &str) -> Option<Rc<dyn Any>> {
        Some(Rc::new(ProductCopy { offer: None, withdrawn: false }))
    }
}

/// Delivers a command twice: the repeat must change nothing.
fn deliver<A: Aggregate>(states: &mut BTreeMap<String, A>, id: &str, command: A::Command, now: Timestamp, origin: &Origin) -> Vec<A::Event> {
    let state = states.entry(id.to_owned()).or_default();
    let heads: &dyn Heads = if A::NAME == "cart" { &Known } else { &NoHeads };
    let decide = |state: &A| state.decide(command.clone(), &Context::new(id, now, now, origin, heads));
    let events = decide(state).unwrap_or_default();
    for event in &events {
        state.evolve(event);
        assert_eq!(state.invariant(), Ok(()), "{} {id} after {event:?}", A::NAME);
    }
    if A::NAME != "cart" {
        // A repeated answer ("short", once more) may be given again, but no state moves by it.
        let mut again = state.clone();
        decide(state).unwrap_or_default().iter().for_each(|event| again.evolve(event));
        assert_eq!(*state, again, "a repeat changed something");
    }
    events
}

impl Market {
    fn send<P: Policy>(
        &mut self,
        way: usize,
        subject: &str,
        events: &[<P::Source as Source>::Event],
        wrap: fn(String, <P::Target as Aggregate>::Command) -> Mail,
    ) {
        for event in events {
            self.mail[way].extend(P::react(subject, event).into_iter().map(|(target, command)| wrap(target, command)));
        }
    }

    fn order(&mut self, id: &str, command: order::Command) {
        let before = self.orders.get(id).map_or(Status::New, |order| order.status);
        let events = deliver(&mut self.orders, id, command, self.now, &Origin::default());
        assert!(self.orders[id].status >= before, "a status went back");
        self.send::<ReserveStock>(0, id, &events, Mail::Stock);
        self.send::<RequestPayment>(1, id, &events, Mail::Payment);
        self.send::<ReopenCart>(2, id, &events, Mail::Cart);
        self.send::<SendPackages>(7, id, &events, Mail::Shipment);
        self.send::<ShareSales>(8, id, &events, Mail::Sale);
    }

    fn step(&mut self, way: usize) {
        let Some(mail) = self.mail[way].pop_front() else { return };
        match mail {
            Mail::Cart(id, command) => {
                let origin = Origin { command_id: "c".into(), reply_to: None };
                let events = deliver(&mut self.carts, &id, command, self.now, &origin);
                self.brought.extend(events.iter().filter_map(|event| match event {
                    cart::Event::Recorded(sale) => Some(sale.order.to_string()),
                    _ => None,
                }));
                self.send::<PlaceOrder>(3, &id, &events, Mail::Order);
            }
            Mail::Order(id, command) => self.order(&id, command),
            Mail::Payment(id, command) => {
                let events = deliver(&mut self.payments, &id, command, self.now, &Origin::default());
                self.send::<RecordPayment>(4, &id, &events, Mail::Order);
            }
            Mail::Shipment(id, command) => {
                let events = deliver(&mut self.shipments, &id, command, self.now, &Origin::default());
                self.send::<RecordShipment>(9, &id, &events, Mail::Order);
            }
            Mail::Sale(id, command) => {
                let events = deliver(&mut self.sales, &id, command, self.now, &Origin::default());
                let sale = &self.sales[&id];
                assert!(sale.status != sale::Status::Shipped || events.is_empty() || self.orders[id.split_once('-').unwrap().1].status == Status::Paid);
            }
            Mail::Stock(id, command) => {
                let events = deliver(&mut self.items, &id, command, self.now, &Origin::default());
                let item = &self.items[&id];
                assert!(item.reserved + item.sold <= item.received, "item {id} is oversold");
                self.send::<RecordReply>(5, &id, &events, Mail::Order);
            }
        }
    }

    fn expire(&mut self) {
        self.now = self.now.plus_seconds(order::CHECKOUT_SECONDS_MAX);
        let due: Vec<_> = self.orders.iter().filter_map(|(id, order)| Some((id.clone(), order.deadline()?.1))).collect();
        due.into_iter().for_each(|(id, command)| self.order(&id, command));
    }

    fn quiet(&self) -> bool {
        self.mail.iter().all(VecDeque::is_empty)
    }
}

fn product(number: u64) -> ProductRef {
    ProductRef { seller: SellerId(1), product: ProductId(number) }
}

fn line(number: u64, quantity: u32, price: i64, voucher: i64) -> cart::Line {
    let money = |minor| Money::new(minor, Currency::GBP);
    cart::Line {
        product: product(number),
        name: "x".into(),
        quantity,
        unit_price: money(price),
        freight: money(7),
        voucher: money(voucher),
        version: None,
        agreed: true,
    }
}

fn checkout(card: bool) -> cart::Checkout {
    let card = Card { brand: "visa".into(), last4: "0002".into(), token: if card { "t" } else { REFUSED_TOKEN }.into() };
    cart::Checkout {
        buyer: Personal::Clear(Person::default()),
        means: Means { method: Method::CreditCard, card: Some(card), installments: 1 },
        reference: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_checkout_ends_and_adds_up(
        stock in prop::collection::vec(0_u64..20, 3),
        carts in prop::collection::vec((1_u64..4, prop::collection::vec((0_u64..3, 1_u32..6, 0_i64..500, 0_i64..900), 1..4), any::<bool>(), any::<bool>()), 1..12),
        schedule in prop::collection::vec((0_usize..WAYS, any::<bool>()), 0..400),
        returns in prop::collection::vec((1_u64..4, 1_u64..4, 0_u32..3, 1_u32..4, any::<bool>()), 0..8),
        expiries in prop::collection::vec(0_usize..400, 0..3),
    ) {
        let mut market = Market::default();
        for (number, quantity) in (0..).zip(&stock) {
            for command in [stock::Command::Bind { version: "1".into() }, stock::Command::Receive { quantity: *quantity, reference: "d".into() }] {
                deliver(&mut market.items, &product(number).to_string(), command, Timestamp(0), &Origin::default());
            }
        }
        for (customer, lines, card, elsewhere) in carts {
            let lines = lines.into_iter().map(|(number, quantity, price, voucher)| line(number, quantity, price, voucher)).collect();
            if elsewhere {
                market.mail[6].push_back(Mail::Cart(customer.to_string(), cart::Command::Record { lines, checkout: checkout(card) }));
                continue;
            }
            market.mail[6].push_back(Mail::Cart(customer.to_string(), cart::Command::Add { lines, reference: None }));
            market.mail[6].push_back(Mail::Cart(customer.to_string(), cart::Command::CheckOut(checkout(card))));
        }
        for (turn, (way, _)) in schedule.iter().enumerate() {
            market.step(*way);
            if expiries.contains(&turn) {
                market.expire();
            }
        }
        // Wherever the sagas stand by now: packages arrive and pieces come back.
        for (number, (customer, order, line, quantity, arrives)) in returns.iter().enumerate() {
            let id = format!("{customer}-{order}");
            if *arrives {
                market.mail[10].push_back(Mail::Shipment(id.clone(), shipment::Command::Deliver { lines: vec![*line] }));
            }
            market.mail[10].push_back(Mail::Order(id, order::Command::Refund { reference: number.to_string(), lines: vec![(*line, *quantity)] }));
            (0..WAYS).for_each(|way| market.step(way));
        }
        for _ in 0..20_000 {
            if market.quiet() { break }
            (0..WAYS).for_each(|way| market.step(way));
        }
        prop_assert!(market.quiet(), "the marketplace does not come to rest");
        let (mut captured, mut invoiced) = (0, 0);
        market.orders.retain(|_, order| order.status != Status::New); // refunds of orders that never were are refused
        market.shipments.retain(|_, shipment| !shipment.packages.is_empty());
        let (mut sold, mut brought) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
        for (id, order) in &market.orders {
            prop_assert!(order.status.ended(), "order {id} is {:?}", order.status);
            captured += market.payments.get(id).map_or(0, |payment| payment.captured.map_or(0, |money| money.minor) - payment.refunded());
            let back: i64 = order.refunds.iter().map(|refund| refund.amount.minor).sum();
            prop_assert!(order.refunds.iter().all(|refund| refund.done), "order {id}: a refund was not recorded");
            prop_assert_eq!(order.status == Status::Paid, market.shipments.contains_key(id), "order {}: paid and shipped are one", id);
            for (number, line) in (0_u32..).zip(&order.lines).filter(|_| order.status == Status::Paid) {
                let sale = &market.sales[&format!("1-{id}")];
                let open = line.kept() > 0 && !line.delivered;
                prop_assert_eq!(sale.open.get(&number).map(|line| line.quantity), open.then(|| line.kept()), "the seller of order {}", id);
            }
            if let Some(invoice) = &order.invoice {
                let discounts: i64 = invoice.discounts.iter().map(|discount| discount.minor).sum();
                prop_assert_eq!(invoice.total.minor, invoice.items.minor + invoice.freight.minor - discounts);
                prop_assert!(invoice.total.minor >= 0);
            }
            if order.status == Status::Paid {
                invoiced += order.invoice.as_ref().unwrap().total.minor - back;
                for line in order.lines.iter().filter(|line| line.reply == order::Reply::Reserved) {
                    if market.brought.contains(id) {
                        *brought.entry(line.sold.product.to_string()).or_default() += u64::from(line.sold.quantity);
                    }
                    *sold.entry(line.sold.product.to_string()).or_default() += u64::from(line.kept());
                }
            }
        }
        prop_assert_eq!(captured, invoiced, "money was made or lost");
        for (id, item) in &market.items {
            prop_assert_eq!(item.reserved, 0, "item {} is reserved for orders that ended", id);
            prop_assert_eq!(item.sold, sold.get(id).copied().unwrap_or(0));
            let received: u64 = item.receipts.values().sum::<u64>() + brought.get(id).copied().unwrap_or(0);
            prop_assert_eq!(item.received, received, "item {}: pieces that nobody delivered, or that went", id);
        }
        prop_assert!(market.carts.values().all(|cart| cart.sent.is_none()), "a cart was not opened again");
    }
}
