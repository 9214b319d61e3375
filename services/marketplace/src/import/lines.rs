//! Lines of an order history as they stand in the file: which are sales of goods, and why the others are not.
//! Sends nothing.

use std::collections::BTreeMap;

use domain::product::{PRICE_MINOR_MAX, TEXT_BYTES_MAX};
use domain::{Currency, ID_MAX, Money, Timestamp};

use super::dates::{Dates, Format, Zone};
use super::encoding::Encoding;
use super::table::{self, Delimiter};

/// A seller's guests have no number of their own: theirs is this many times the seller's, and their invoice's.
const GUESTS_FROM: u64 = 1_000_000_000_000;
/// Letters of a stock code that fit its product's number.
const LETTERS_MAX: u32 = 4;

/// Why a cancellation is not refunded.
pub const UNMATCHED: &str = "cancellation_unmatched";

/// Why a charge is no sale.
const NOT_GOODS: &str = "not_goods";
/// Why a line is neither goods nor a charge.
const NO_CODE: &str = "no_stock_code";

/// What the owner of a history expects to be left out: lines that are no sale, by their nature.
pub const EXPECTED: [&str; 4] = [NOT_GOODS, "quantity_not_positive", "price_not_positive", UNMATCHED];

/// The columns a history must have, and what else they are called.
const COLUMNS: [(&str, &[&str]); 8] = [
    ("InvoiceNo", &["invoice"]),
    ("StockCode", &[]),
    ("Description", &[]),
    ("Quantity", &[]),
    ("InvoiceDate", &[]),
    ("UnitPrice", &["price"]),
    ("CustomerID", &[]),
    ("Country", &[]),
];

/// How a history is to be read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// found out from the first line if it is not given
    pub delimiter: Option<Delimiter>,
    /// found out from the first bytes if it is not given
    pub encoding: Option<Encoding>,
    /// found out from all dates if it is not given
    pub dates: Option<Format>,
    /// of dates that do not say
    pub zone: Zone,
    /// of the prices
    pub currency: Currency,
    /// whose history it is
    pub seller: u64,
}

/// A row's fields.
struct Row {
    invoice: String,
    code: String,
    description: String,
    quantity: String,
    date: String,
    price: String,
    customer: String,
    country: String,
}

/// A sale of goods.
#[derive(Clone, Debug)]
pub struct Sale {
    /// the invoice's number
    pub invoice: String,
    /// the product's number
    pub product: u64,
    /// its stock code
    pub code: String,
    /// its text, as this line has it
    pub description: String,
    /// how many
    pub quantity: u32,
    /// when: of its invoice's first line
    pub at: Timestamp,
    /// when, as this line has it
    pub noted_at: Timestamp,
    /// the agreed price of one
    pub price: Money,
    /// the customer's number, a guest's included
    pub customer: u64,
    /// a sale without a customer
    pub guest: bool,
    /// where to
    pub country: String,
}

/// A cancellation of goods: pieces that a customer gave back.
#[derive(Clone, Debug)]
pub struct Returned {
    /// the product's number
    pub product: u64,
    /// how many
    pub quantity: u32,
    /// the price of one, as the line has it
    pub price: Money,
    /// the customer's number
    pub customer: u64,
    /// when
    pub at: Timestamp,
}

/// A line of the file and what is known of it.
#[derive(Debug)]
pub struct Line {
    /// its number in the file, the header's being 1
    pub number: u64,
    /// its invoice, as written
    pub invoice: String,
    /// its stock code, as written
    pub code: String,
    /// The sale, or why it is none: a stable name.
    pub sale: Result<Sale, &'static str>,
    /// what came back, of a cancellation
    pub returned: Option<Returned>,
    /// quantity × price, where both can be read
    pub amount: Option<Money>,
}

impl Line {
    /// Whether it stands on a cancellation's invoice.
    pub fn cancels(&self) -> bool {
        is_cancellation(&self.invoice)
    }
}

fn is_cancellation(invoice: &str) -> bool {
    invoice.trim().starts_with(['C', 'c'])
}

/// What a row's numbers and dates mean in this file.
struct Meaning<'r> {
    reading: &'r Reading,
    dates: Dates,
    /// prices may be written `2,55`: nothing else separates by a comma
    comma: bool,
}

/// All lines of a file, in order.
pub fn read(bytes: &[u8], reading: &Reading) -> Result<Vec<Line>, String> {
    let (bytes, encoding) = reading.encoding.unwrap_or_else(|| Encoding::of_mark(bytes)).plain(bytes);
    let (delimiter, columns, width) = columns(&bytes, encoding, reading.delimiter)?;
    let mut rows: Vec<(u64, Result<Row, &'static str>)> = vec![];
    for record in table::records(&bytes, delimiter, width).into_iter().skip(1) {
        rows.push((record.line, record.fields.ok_or("unclosed_quote").and_then(|fields| row(&fields, &columns, width, encoding))));
    }
    let dates = Dates::of(reading.dates.clone(), reading.zone, rows.iter().filter_map(|(_, row)| Some(row.as_ref().ok()?.date.as_str())));
    let meaning = Meaning { reading, dates, comma: delimiter.0 != b',' };
    let mut lines: Vec<Line> = rows.into_iter().map(|(number, row)| meaning.line(number, row)).collect();
    one_customer_an_invoice(&mut lines);
    Ok(lines)
}

/// What separates the columns, where each of them stands, and how many there are in all.
fn columns(bytes: &[u8], encoding: Encoding, told: Option<Delimiter>) -> Result<(Delimiter, [usize; 8], usize), String> {
    let bare = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let mut most: Option<(usize, String)> = None;
    for delimiter in told.map_or(table::TRIED.to_vec(), |told| vec![told]) {
        let Some(header) = table::header(bytes, delimiter) else { continue };
        let names: Vec<String> = header.iter().map(|name| encoding.text(name).unwrap_or_default()).collect();
        let place = |(column, others): &(&str, &[&str])| names.iter().position(|name| bare(name) == bare(column) || others.contains(&bare(name).as_str()));
        let places = COLUMNS.each_ref().map(place);
        match COLUMNS.iter().zip(&places).find(|(_, place)| place.is_none()) {
            None => return Ok((delimiter, places.map(Option::unwrap_or_default), names.len())),
            Some(((column, _), _)) if most.as_ref().is_none_or(|(count, _)| names.len() > *count) => {
                most = Some((names.len(), format!("line 1 has no column {column}; it has {}", names.join(", "))));
            }
            Some(_) => {}
        }
    }
    let (_, why) = most.unwrap_or_else(|| (0, "line 1 is no row of columns".to_owned()));
    Err(format!("{why}; if its columns are separated in another way, say so with --delimiter, and in another encoding with --encoding"))
}

fn row(fields: &[Vec<u8>], columns: &[usize; 8], width: usize, encoding: Encoding) -> Result<Row, &'static str> {
    if fields.len() != width {
        return Err("malformed_line");
    }
    let mut texts = columns.iter().map(|at| fields.get(*at).and_then(|field| encoding.text(field)).ok_or("malformed_encoding"));
    let mut next = || texts.next().unwrap_or(Err("malformed_line"));
    Ok(Row { invoice: next()?, code: next()?, description: next()?, quantity: next()?, date: next()?, price: next()?, customer: next()?, country: next()? })
}

impl Meaning<'_> {
    fn line(&self, number: u64, row: Result<Row, &'static str>) -> Line {
        let row = match row {
            Ok(row) => row,
            Err(why) => return Line { number, invoice: String::new(), code: String::new(), sale: Err(why), returned: None, amount: None },
        };
        let amount = row.quantity.trim().parse::<u32>().ok().zip(self.price(&row.price).ok()).and_then(|(quantity, price)| price.times(quantity).ok());
        let (invoice, code) = (row.invoice.clone(), row.code.clone());
        let (sale, returned) = match self.returned(&row) {
            Some(Ok(returned)) => (Err(UNMATCHED), Some(returned)), // until a sale is found that it belongs to
            Some(Err(reason)) => (Err(reason), None),
            None => (self.sale(row), None),
        };
        Line { number, invoice, code, sale, returned, amount }
    }

    fn price(&self, text: &str) -> Result<Money, &'static str> {
        let decimal = text.trim().split_once(',').filter(|(_, cents)| self.comma && (1..=2).contains(&cents.len()));
        let point = decimal.map(|(whole, cents)| format!("{whole}.{cents}"));
        Money::parse(point.as_deref().unwrap_or(text.trim()), self.reading.currency).map_err(|why| match why {
            domain::MoneyError::TooLarge => "price_too_large",
            _ => "malformed_price",
        })
    }

    /// A customer's number, below those of guests; tables that were through a spreadsheet write `17850.0`.
    fn customer(text: &str) -> Result<u64, &'static str> {
        let text = text.trim();
        let number: u64 = text.strip_suffix(".0").unwrap_or(text).parse().map_err(|_| "malformed_customer")?;
        if number < GUESTS_FROM { Ok(number) } else { Err("customer_out_of_range") }
    }

    /// What a cancellation gives back, or why it cannot be matched to anything; none of a line that is no cancellation.
    fn returned(&self, row: &Row) -> Option<Result<Returned, &'static str>> {
        let read = || {
            let (_, product) = product(&row.code)?;
            let quantity =
                row.quantity.trim().strip_prefix('-').and_then(|pieces| pieces.parse().ok()).filter(|pieces| *pieces > 0).ok_or("malformed_quantity")?;
            let price = self.price(&row.price)?;
            if row.customer.trim().is_empty() {
                return Err(UNMATCHED);
            }
            Ok(Returned { product, quantity, price, customer: Self::customer(&row.customer)?, at: self.dates.read(&row.date)? })
        };
        is_cancellation(&row.invoice).then(read)
    }

    fn sale(&self, row: Row) -> Result<Sale, &'static str> {
        let (code, product) = product(&row.code)?;
        let quantity: i64 = row.quantity.trim().parse().map_err(|why: std::num::ParseIntError| match why.kind() {
            std::num::IntErrorKind::PosOverflow => "quantity_too_large",
            _ => "malformed_quantity",
        })?;
        if quantity <= 0 {
            return Err("quantity_not_positive");
        }
        let quantity = u32::try_from(quantity).ok().filter(|quantity| *quantity <= domain::cart::QUANTITY_MAX).ok_or("quantity_too_large")?;
        let price = self.price(&row.price)?;
        match price.minor {
            ..=0 => return Err("price_not_positive"),
            minor if minor > PRICE_MINOR_MAX => return Err("price_too_large"),
            _ => {}
        }
        let at = self.dates.read(&row.date)?;
        let written = row.invoice.trim();
        let invoice: u64 =
            Some(written).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok()).ok_or("malformed_invoice")?;
        let guest = row.customer.trim().is_empty();
        let customer = if guest { self.guest(invoice).ok_or("invoice_out_of_range")? } else { Self::customer(&row.customer)? };
        let description = row.description.trim();
        if description.len() > TEXT_BYTES_MAX || row.country.len() > TEXT_BYTES_MAX {
            return Err("text_too_long");
        }
        let invoice = written.to_owned();
        Ok(Sale { invoice, product, code, description: description.to_owned(), quantity, at, noted_at: at, price, customer, guest, country: row.country })
    }

    /// The number of the guest of an invoice.
    fn guest(&self, invoice: u64) -> Option<u64> {
        let invoice = Some(invoice).filter(|invoice| *invoice < GUESTS_FROM)?;
        self.reading.seller.checked_mul(GUESTS_FROM)?.checked_add(invoice).filter(|guest| *guest <= ID_MAX)
    }
}

/// A stock code of five digits with optional letters, in upper case, and its product's number: the digits, then the letters in base 27.
fn product(code: &str) -> Result<(String, u64), &'static str> {
    let code = code.trim().to_ascii_uppercase();
    if code.is_empty() {
        return Err(NO_CODE);
    }
    let (digits, letters) = code.split_at_checked(5).ok_or(NOT_GOODS)?;
    let fits =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && letters.bytes().all(|byte| byte.is_ascii_uppercase()) && letters.len() <= LETTERS_MAX as usize;
    if !fits {
        return Err(NOT_GOODS);
    }
    let letters = letters.bytes().fold(0, |number, byte| number * 27 + u64::from(byte - b'A') + 1);
    let number = digits.parse::<u64>().map_err(|_| NOT_GOODS)? * 27_u64.pow(LETTERS_MAX) + letters;
    Ok((code, number))
}

/// An invoice is one order of one customer, at one time: that of its first line.
fn one_customer_an_invoice(lines: &mut [Line]) {
    let mut owners: BTreeMap<String, (u64, Timestamp)> = BTreeMap::new();
    for line in lines {
        let Ok(sale) = &mut line.sale else { continue };
        let (customer, at) = *owners.entry(sale.invoice.clone()).or_insert((sale.customer, sale.at));
        sale.at = at;
        if sale.customer != customer {
            line.sale = Err("invoice_of_another_customer");
        }
    }
}
