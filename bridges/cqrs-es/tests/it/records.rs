//! What stands in the log, and what was written once.

use std::path::Path;

use daybook::golden;
use daybook::schemas::Codec;
use daybook::schemas::envelope::{Kind, Malformed};
use daybook_cqrs_es::{Command, OnLog, Recorded};
use serde_json::json;

use crate::account::{BankAccount, BankAccountCommand, BankAccountEvent};
use crate::rules::{deposited, opened, recorded};

type Account = OnLog<BankAccount>;

/// `UPDATE=1 cargo test` writes the golden records that are missing, and never one that is there. The deposit of version 1 was
/// written by hand, as cqrs-es wrote it before there was a version 2.
#[test]
fn what_was_written_once_is_read_for_ever() {
    let withdrawn = BankAccountEvent::CustomerWithdrewCash { cents: 20, balance: 30 };
    let check = BankAccountEvent::CustomerWroteCheck { check_number: "1170".into(), cents: 10, balance: 20 };
    let said = Recorded { metadata: [("user".to_owned(), "Anna".to_owned())].into(), ..deposited(50, 50) };
    let events = [opened(), said.clone(), recorded(withdrawn), recorded(check)];
    let commands = [Account::handle(&BankAccountCommand::DepositMoney { cents: 50 }).unwrap(), Command::Append { expected: 1, events: vec![said] }];
    golden::check::<Account, _>(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"), &events, &commands).unwrap();
}

#[test]
fn older_payloads_are_upcast_and_newer_ones_refused() {
    let body = serde_json::to_vec(&json!({ "payload": { "CustomerDepositedMoney": { "amount": 3, "balance": 5 } } })).unwrap();
    let read = |name: &'static str, version, body: &[u8]| Account::decode_event(&Kind::of("account", name, version), body);
    let old = Recorded { was: Some(("1.0".to_owned(), json!({ "CustomerDepositedMoney": { "amount": 3, "balance": 5 } }))), ..deposited(300, 500) };
    assert_eq!(read("CustomerDepositedMoney", 1, &body), Ok(old.clone()));
    assert_eq!(Account::encode_event(&old), (Kind::of("account", "CustomerDepositedMoney", 1), body), "it stays what it was");
    let odd = br#"{"payload":{"CustomerDepositedMoney":{"amount":"a lot","balance":5}}}"#;
    assert!(matches!(read("CustomerDepositedMoney", 1, odd), Err(Malformed::Body { why, .. }) if why.contains("its upcaster panicked")));
    let body = Account::encode_event(&old).1;
    assert!(matches!(read("CustomerDepositedMoney", 2, &body), Err(Malformed::Body { why, .. }) if why.starts_with("'payload': missing field `cents`")));
    assert!(matches!(read("CustomerDepositedMoney", 3, &body), Err(Malformed::FromTheFuture(_))));
    assert!(matches!(read("AccountClosed", 1, &body), Err(Malformed::UnknownKind(_))));
    let command = |body: serde_json::Value| Account::decode_command(&Kind::of("account", "append", 1), &serde_json::to_vec(&body).unwrap());
    let one = |version: &str| json!({ "expected": 1, "events": [{ "type": "CustomerDepositedMoney", "version": version, "payload": { "CustomerDepositedMoney": { "amount": 3, "balance": 5 } } }] });
    assert_eq!(command(one("1.0")), Ok(Command::Append { expected: 1, events: vec![old] }));
    assert!(matches!(command(one("3.0")), Err(Malformed::Body { why, .. }) if why == "'events/0': account knows no CustomerDepositedMoney of version 3.0"));
    assert!(matches!(Account::decode_command(&Kind::of("account", "handle", 1), b"{\"Rob\":{}}"), Err(Malformed::Body { .. })));
}
