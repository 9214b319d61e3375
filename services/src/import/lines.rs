//! Lines of an order history as they stand in the file: which are sales of goods, and why the others are not.
//! Sends nothing.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use domain::{Currency, Money, Timestamp};
use serde::Deserialize;

use super::refunds::UNMATCHED;

/// Guests have no number of their own: theirs is this and their invoice's.
const GUESTS_FROM: u64 = 1_000_000_000_000;
/// Letters of a stock code that fit its product's number.
const LETTERS_MAX: u32 = 4;

/// A row of the file.
#[derive(Deserialize)]
struct Row {
    #[serde(rename = "InvoiceNo")]
    invoice: String,
    #[serde(rename = "StockCode")]
    code: String,
    #[serde(rename = "Description")]
    description: String,
    #[serde(rename = "Quantity")]
    quantity: String,
    #[serde(rename = "InvoiceDate")]
    date: String,
    #[serde(rename = "UnitPrice")]
    price: String,
    #[serde(rename = "CustomerID")]
    customer: String,
    #[serde(rename = "Country")]
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
    /// when
    pub at: Timestamp,
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

/// All lines of a file, in order.
pub fn read(file: &Path, currency: Currency) -> anyhow::Result<Vec<Line>> {
    let bytes = std::fs::read(file).with_context(|| format!("order history {}", file.display()))?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes.as_slice());
    let headers = reader.headers()?.clone();
    for column in ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"] {
        ensure!(
            headers.iter().any(|header| header == column),
            "{}: line 1 has no column {column}; it has {}",
            file.display(),
            headers.iter().collect::<Vec<_>>().join(", ")
        );
    }
    let (mut lines, mut counted, mut number) = (vec![], 0, 1);
    for record in reader.byte_records() {
        let record = record.with_context(|| file.display().to_string())?;
        // The reader's own count is one short where lines end with CR LF.
        let start = record.position().map_or(0, |position| usize::try_from(position.byte()).unwrap_or(usize::MAX)).min(bytes.len());
        let start = start + bytes[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        number += bytes[counted..start].iter().filter(|byte| **byte == b'\n').count() as u64;
        counted = start;
        let text = csv::StringRecord::from_byte_record_lossy(record);
        lines.push(match text.deserialize::<Row>(Some(&headers)) {
            Ok(row) if text.len() == headers.len() => line(number, row, currency),
            _ => Line { number, invoice: String::new(), code: String::new(), sale: Err("malformed_line"), returned: None, amount: None },
        });
    }
    one_customer_an_invoice(&mut lines);
    Ok(lines)
}

fn line(number: u64, row: Row, currency: Currency) -> Line {
    let amount = row.quantity.parse::<u32>().ok().zip(Money::parse(&row.price, currency).ok()).and_then(|(quantity, price)| price.times(quantity).ok());
    let (invoice, code) = (row.invoice.clone(), row.code.clone());
    let (sale, returned) = match returned(&row, currency) {
        Some(Ok(returned)) => (Err(UNMATCHED), Some(returned)), // until a sale is found that it belongs to
        Some(Err(reason)) => (Err(reason), None),
        None => (sale(row, currency), None),
    };
    Line { number, invoice, code, sale, returned, amount }
}

/// What a cancellation gives back, or why it cannot be matched to anything; none of a line that is no cancellation.
fn returned(row: &Row, currency: Currency) -> Option<Result<Returned, &'static str>> {
    row.invoice.strip_prefix(['C', 'c'])?;
    let read = || {
        let (_, product) = product(&row.code).ok_or("not_goods")?;
        let quantity = row.quantity.strip_prefix('-').and_then(|pieces| pieces.parse().ok()).filter(|pieces| *pieces > 0).ok_or("malformed_quantity")?;
        let price = Money::parse(&row.price, currency).map_err(|_| "malformed_price")?;
        let customer = row.customer.trim().parse().map_err(|_| UNMATCHED)?;
        let at = row.date.parse().map_err(|_| "malformed_date")?;
        Ok(Returned { product, quantity, price, customer, at })
    };
    Some(read())
}

fn sale(row: Row, currency: Currency) -> Result<Sale, &'static str> {
    let (code, product) = product(&row.code).ok_or("not_goods")?;
    let quantity: i64 = row.quantity.parse().map_err(|_| "malformed_quantity")?;
    if quantity <= 0 {
        return Err("quantity_not_positive");
    }
    let quantity = u32::try_from(quantity).ok().filter(|quantity| *quantity <= domain::cart::QUANTITY_MAX).ok_or("quantity_too_large")?;
    let price = Money::parse(&row.price, currency).map_err(|_| "malformed_price")?;
    if price.minor <= 0 {
        return Err("price_not_positive");
    }
    let at = row.date.parse().map_err(|_| "malformed_date")?;
    let invoice: u64 = row.invoice.parse().map_err(|_| "malformed_invoice")?;
    let guest = row.customer.trim().is_empty();
    let customer = if guest { GUESTS_FROM + invoice } else { row.customer.trim().parse().map_err(|_| "malformed_customer")? };
    Ok(Sale { invoice: row.invoice, product, code, description: row.description.trim().to_owned(), quantity, at, price, customer, guest, country: row.country })
}

/// A stock code of five digits with optional letters, in upper case, and its product's number: the digits, then the letters in base 27.
fn product(code: &str) -> Option<(String, u64)> {
    let code = code.trim().to_ascii_uppercase();
    let (digits, letters) = code.split_at_checked(5)?;
    let fits =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && letters.bytes().all(|byte| byte.is_ascii_uppercase()) && letters.len() <= LETTERS_MAX as usize;
    let letters = letters.bytes().fold(0, |number, byte| number * 27 + u64::from(byte.saturating_sub(b'A')) + 1);
    let number = digits.parse::<u64>().ok()? * 27_u64.pow(LETTERS_MAX) + letters;
    fits.then_some((code, number))
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
