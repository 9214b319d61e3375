//! The bank's tests: rules by given, when, then; shapes by golden records; and the whole, killed again and again.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bank::account::{self, Account};
use bank::shapes::{CustomerEvent, Customers, RegisteredSeen};
use bank::transfer::{self, SECONDS, Status, Transfer};
use daybook::client::connection::{Command, Connection, Retry};
use daybook::testing::{PATIENCE, Server, given};
use daybook::web::Method;
use daybook::{Timestamp, golden};
use serde_json::{Value, json};

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn transfer() -> String {
    "7-1".to_owned()
}

fn asked() -> transfer::Event {
    transfer::Event::Asked { to: 8, cents: 1_250, deadline: Timestamp(0).plus_seconds(SECONDS) }
}

#[test]
fn an_account_gives_what_it_has() {
    let with = |cents| given::<Account>("7", [account::Event::Opened { owner: "Anna".into() }, account::Event::Deposited { cents }]);
    let withdraw = || account::Command::Withdraw { transfer: transfer(), cents: 1_250 };
    with(1_250).when(withdraw()).then(&[account::Event::Withdrawn { transfer: transfer(), cents: 1_250 }]);
    with(1_249).when(withdraw()).then(&[account::Event::Short { transfer: transfer() }]);
    with(1).when(account::Command::Deposit { cents: 0 }).refused("amount-out-of-range");
    with(1).when(account::Command::Deposit { cents: account::CENTS_MAX }).refused("amount-out-of-range");
    with(1).when(account::Command::Open { owner: "Bert".into() }).then(&[]);
    given::<Account>("7", []).when(account::Command::Deposit { cents: 1 }).refused("unknown-account");
    given::<Account>("7", []).when(account::Command::Open { owner: String::new() }).refused("owner-out-of-range");
}

/// Whichever the receiver hears first, the money or that it is too late, the other changes nothing.
#[test]
fn a_receiver_answers_once() {
    let open = || account::Event::Opened { owner: "Bert".into() };
    let (credit, decline) = (account::Command::Credit { transfer: transfer(), cents: 1_250 }, account::Command::Decline { transfer: transfer() });
    let credited = account::Event::Credited { transfer: transfer(), cents: 1_250 };
    let declined = account::Event::Declined { transfer: transfer() };
    given::<Account>("8", [open()]).when(credit.clone()).then(std::slice::from_ref(&credited));
    given::<Account>("8", [open(), credited]).when(decline.clone()).then(&[]);
    given::<Account>("8", [open()]).when(decline).then(std::slice::from_ref(&declined));
    given::<Account>("8", [open(), declined.clone()]).when(credit.clone()).then(&[]);
    given::<Account>("8", []).when(credit).then(&[declined]);
}

#[test]
fn a_transfer_ends_and_gives_back_what_it_took() {
    let funded = transfer::Event::Funded { to: 8, cents: 1_250 };
    let ask = |to, cents| transfer::Command::Ask { to, cents };
    given::<Transfer>("7-1", []).when(ask(8, 1_250)).then(&[asked()]);
    given::<Transfer>("7-1", []).when(ask(7, 1_250)).refused("same-account");
    given::<Transfer>("7-1", []).when(ask(8, 0)).refused("amount-out-of-range");
    given::<Transfer>("7-1", [asked()]).when(ask(8, 1_250)).then(&[]);
    given::<Transfer>("7-1", [asked()]).when(ask(9, 1_250)).refused("already-asked");
    given::<Transfer>("7-1", [asked()]).when(transfer::Command::RecordDeclined).then(&[transfer::Event::Failed { give_back: 0 }]);
    given::<Transfer>("7-1", [asked()]).when(transfer::Command::RecordWithdrawn).then(std::slice::from_ref(&funded));
    let late = given::<Transfer>("7-1", [asked(), funded.clone()]).when_due().then(&[transfer::Event::WentLate { to: 8 }]);
    assert_eq!(late.status, Status::Late);
    let late = [asked(), funded, transfer::Event::WentLate { to: 8 }];
    given::<Transfer>("7-1", late.clone()).when(transfer::Command::RecordCredited).then(&[transfer::Event::Completed]);
    given::<Transfer>("7-1", late).when(transfer::Command::RecordDeclined).then(&[transfer::Event::Failed { give_back: 1_250 }]);
}

/// `UPDATE=1 cargo test` writes the golden records that are missing, and never one that is there.
#[test]
fn what_was_written_once_is_read_for_ever() {
    let (owner, cents) = (|| "Anna".to_owned(), 1_250);
    let events = [
        account::Event::Opened { owner: owner() },
        account::Event::Deposited { cents },
        account::Event::Withdrawn { transfer: transfer(), cents },
        account::Event::Short { transfer: transfer() },
        account::Event::Credited { transfer: transfer(), cents },
        account::Event::Declined { transfer: transfer() },
    ];
    let commands = [
        account::Command::Open { owner: owner() },
        account::Command::Deposit { cents },
        account::Command::Withdraw { transfer: transfer(), cents },
        account::Command::Credit { transfer: transfer(), cents },
        account::Command::Decline { transfer: transfer() },
    ];
    golden::check::<Account, _>(&golden_dir(), &events, &commands).unwrap();
    let events = [
        asked(),
        transfer::Event::Funded { to: 8, cents },
        transfer::Event::WentLate { to: 8 },
        transfer::Event::Completed,
        transfer::Event::Failed { give_back: cents },
    ];
    let commands = [
        transfer::Command::Ask { to: 8, cents },
        transfer::Command::RecordWithdrawn,
        transfer::Command::RecordCredited,
        transfer::Command::RecordDeclined,
        transfer::Command::Expire,
    ];
    golden::check::<Transfer, _>(&golden_dir(), &events, &commands).unwrap();
    // The shop's own golden record of a customer: fields that are not named here are passed over.
    let registered = CustomerEvent::Registered(RegisteredSeen { data: "prefers mail".into() });
    golden::check_source::<Customers, _>(&golden_dir().join("sources"), &[registered]).unwrap();
}

/// Transfers among four accounts and to one that is not there, the process killed meanwhile: in the end all have ended, no cent
/// is lost or made, and every fold equals its fold from zero.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cent_is_lost_whenever_it_is_killed() {
    const KILLS: u32 = 5;
    const TRANSFERS: u64 = 30;
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(env!("CARGO_BIN_EXE_bank"), &dir.path().join("data")).unwrap();
    server.start().await.unwrap();
    let connection = Connection::to([server.url()]);
    let retry = Retry::every(Duration::from_millis(50), PATIENCE);
    let send = async |method: Method, path: String, id: String, body: Value| {
        connection.command(&Command { method, path: &path, id: &id, occurred_at: None, body: &body }, &retry).await.unwrap()
    };
    for account in 1..=4 {
        assert!(send(Method::PUT, format!("/accounts/{account}"), format!("open {account}"), json!({ "owner": "somebody" })).await.status.is_success());
        let deposit = send(Method::POST, format!("/accounts/{account}/deposits"), format!("pay in {account}"), json!({ "amount": "100.00" })).await;
        assert!(deposit.status.is_success());
    }
    let transfers = tokio::spawn({
        let connection = connection.clone();
        async move {
            let retry = Retry::every(Duration::from_millis(50), PATIENCE);
            for number in 1..=TRANSFERS {
                for from in 1..=4_u64 {
                    let path = format!("/transfers/{from}-{number}");
                    let body = json!({ "to": 1 + (from + number % 4) % 5, "amount": format!("{}.50", number % 17) });
                    let command = Command { method: Method::POST, path: &path, id: &path, occurred_at: None, body: &body };
                    connection.command(&command, &retry).await.unwrap();
                }
            }
        }
    });
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(u64::from(150 + 70 * kill))).await;
        server.kill().unwrap();
        server.start().await.unwrap();
    }
    transfers.await.unwrap();
    let began = Instant::now();
    loop {
        let all: Vec<Value> = connection.list("/transfers", 500, &retry).await.unwrap().unwrap().items;
        let totals: Vec<Value> = connection.list("/totals", 10, &retry).await.unwrap().unwrap().items;
        let ended = all.iter().filter(|transfer| transfer["status"] == "completed" || transfer["status"] == "failed").count();
        let asked = usize::try_from(4 * TRANSFERS).unwrap();
        // What failed is given back a moment later.
        if all.len() == asked && ended == asked && totals[0]["cents"] == 40_000 {
            assert!(all.iter().any(|transfer| transfer["status"] == "completed") && all.iter().any(|transfer| transfer["status"] == "failed"));
            assert_eq!(totals[0]["deposited"], 40_000);
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{ended} of {} transfers have ended; {totals:?}", all.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let accounts: Vec<Value> = connection.list("/accounts", 100, &retry).await.unwrap().unwrap().items;
    assert_eq!(accounts.iter().map(|account| account["cents"].as_i64().unwrap()).sum::<i64>(), 40_000);
    server.verify().unwrap();
    server.stop().unwrap();
    server.verify().unwrap();
}
