//! What became of every line: the report for people and programs, and the sums that must agree.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use domain::{Currency, Money};
use serde::Serialize;
use serde_json::json;

use super::Placed;
use super::lines::Line;
use super::refunds::Refund;
use crate::cli::Output;
use crate::out;

/// One line of the report.
#[derive(Serialize)]
struct Fate<'a> {
    line: u64,
    invoice: &'a str,
    stock_code: &'a str,
    status: &'static str,
    reason: String,
    amount: String,
    order: &'a str,
}

/// All lines and the sums.
pub struct Report<'a> {
    fates: Vec<Fate<'a>>,
    refused_by_reason: BTreeMap<String, u64>,
    goods_total: Money,
    orders_total: Money,
    orders: usize,
    refunds: u64,
    refunds_total: Money,
}

impl<'a> Report<'a> {
    /// Of these lines and the orders they became.
    pub fn of(lines: &'a [Line], placed: &'a BTreeMap<String, Placed>, refunds: &[Refund<'a>], seller: u64, currency: Currency) -> anyhow::Result<Self> {
        let (zero, orders) = (Money::zero(currency), placed.len());
        let refunds: BTreeMap<u64, &Refund<'a>> = refunds.iter().map(|refund| (refund.number, refund)).collect();
        let mut report =
            Self { fates: vec![], refused_by_reason: BTreeMap::new(), goods_total: zero, orders_total: zero, orders, refunds: 0, refunds_total: zero };
        for line in lines {
            let amount = line.amount.map(|amount| amount.to_string()).unwrap_or_default();
            let mut fate =
                Fate { line: line.number, invoice: &line.invoice, stock_code: &line.code, status: "refused", reason: String::new(), amount, order: "" };
            if let Some(refund) = refunds.get(&line.number) {
                report.refunds_total = report.refunds_total.plus(refund.amount)?;
                report.refunds += 1;
                (fate.status, fate.order, fate.amount) = ("refunded", refund.order, refund.amount.to_string());
                report.fates.push(fate);
                continue;
            }
            match report.sold(line, placed, seller, &mut fate) {
                Ok(amount) => {
                    report.goods_total = report.goods_total.plus(amount)?;
                    fate.status = "accepted";
                }
                Err(reason) => {
                    *report.refused_by_reason.entry(reason.clone()).or_default() += 1;
                    fate.reason = reason;
                }
            }
            report.fates.push(fate);
        }
        for order in placed.values().filter(|order| order.status == "paid") {
            report.orders_total = report.orders_total.plus(Money::parse(&order.total, currency)?)?;
        }
        Ok(report)
    }

    /// The line's amount if its order has it and is paid, or the reason why not.
    fn sold(&self, line: &Line, placed: &'a BTreeMap<String, Placed>, seller: u64, fate: &mut Fate<'a>) -> Result<Money, String> {
        let sale = line.sale.as_ref().map_err(|reason| (*reason).to_owned())?;
        let order = placed.get(&sale.invoice).ok_or("no_order")?;
        fate.order = &order.id;
        let key = (format!("{seller}-{}", sale.product), sale.price.to_string());
        match (order.lines.get(&key).map(|line| line.status.as_str()), order.status.as_str()) {
            (Some("reserved"), "paid") => sale.price.times(sale.quantity).map_err(|why| why.to_string()),
            (Some("reserved"), status) => Err(format!("order_{}", status.replace('-', "_"))),
            (Some(short), _) => Err(short.replace('-', "_")),
            (None, _) => Err("dropped_by_cart".to_owned()),
        }
    }

    /// Writes the report, whole or not at all.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let new = file.with_extension("new");
        let mut writer = csv::Writer::from_path(&new).with_context(|| format!("report {}", new.display()))?;
        self.fates.iter().try_for_each(|fate| writer.serialize(fate))?;
        writer.flush()?;
        std::fs::rename(&new, file).with_context(|| format!("report {}", file.display()))
    }

    /// Prints the summary.
    pub fn print(&self, output: Output, file: &Path, took: Duration) {
        let refused: u64 = self.refused_by_reason.values().sum();
        // Charges that are no goods are refused with their reason, so nothing else is accepted.
        let other_total = Money::zero(self.goods_total.currency);
        let accepted = self.fates.len() as u64 - refused - self.refunds;
        let rows = [
            ("lines", self.fates.len().to_string()),
            ("accepted", accepted.to_string()),
            ("refunded", self.refunds.to_string()),
            ("refused", refused.to_string()),
            ("orders", self.orders.to_string()),
            ("goods total", self.goods_total.to_string()),
            ("other total", other_total.to_string()),
            ("accepted total", self.goods_total.to_string()),
            ("orders total", self.orders_total.to_string()),
            ("refunds total", self.refunds_total.to_string()),
            ("seconds", format!("{:.1}", took.as_secs_f64())),
            ("report", file.display().to_string()),
        ];
        match output {
            Output::Json => out::line(format_args!(
                "{:#}",
                json!({
                    "lines": self.fates.len(), "accepted": accepted, "refunded": self.refunds, "refused": refused, "refused_by_reason": self.refused_by_reason, "orders": self.orders,
                    "currency": self.goods_total.currency.code(), "goods_total": self.goods_total.to_string(), "other_total": other_total.to_string(),
                    "accepted_total": self.goods_total.to_string(), "orders_total": self.orders_total.to_string(),
                    "refunds_total": self.refunds_total.to_string(),
                    "seconds": took.as_secs_f64(), "report": file.display().to_string(),
                })
            )),
            Output::Table => {
                let mut table = out::bare();
                let reasons = self.refused_by_reason.iter().map(|(reason, count)| (format!("refused: {reason}"), count.to_string()));
                let rows = rows.into_iter().map(|(name, value)| (name.to_owned(), value));
                table.add_rows(rows.chain(reasons).map(|(name, value)| [name, value]));
                out::line(table);
            }
        }
    }
}
