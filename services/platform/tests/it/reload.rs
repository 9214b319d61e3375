//! Tests of certificates that change while they serve. Never lets a request fail.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use daybook::tls::Tls;
use tokio::time::sleep;

use crate::authority::*;

/// Writes a file in place, as some tools do.
fn over(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

#[test]
fn a_broken_pair_changes_nothing_and_a_mended_one_does() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let files = put(dir.path(), &authority.good(), Some(&authority));
    let tls = Tls::open(files.clone()).unwrap();
    assert!(!tls.refresh().unwrap(), "nothing changed");
    let later = authority.make(|params| params.not_after = rcgen::date_time_ymd(2077, 1, 1));
    let before = tls.expires();
    over(&files.cert, &later.cert);
    for _ in 0..2 {
        let why = format!("{:#}", tls.refresh().unwrap_err());
        assert!(why.contains("goes on serving") && why.contains("is not the one of the certificate"), "{why}");
        assert_eq!(tls.expires(), before);
    }
    over(&files.key, &later.key);
    assert!(tls.refresh().unwrap());
    assert_ne!(tls.expires(), before);
    assert!(!tls.refresh().unwrap());
    std::thread::sleep(Duration::from_millis(2100)); // now a look at the files is enough
    assert!(!tls.refresh().unwrap());
    assert!(!tls.refresh().unwrap());
    let expired = authority.make(expired);
    over(&files.cert, &expired.cert);
    over(&files.key, &expired.key);
    assert!(format!("{:#}", tls.refresh().unwrap_err()).contains("expired"));
    fs::remove_file(&files.cert).unwrap();
    assert!(tls.refresh().is_err());
    put(dir.path(), &later, Some(&authority));
    assert!(!tls.refresh().unwrap(), "the same as before");
    over(files.client_ca.as_ref().unwrap(), &Authority::new("others").pem());
    assert!(tls.refresh().unwrap(), "authorities count too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_certificates_change() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let files = put(dir.path(), &authority.good(), Some(&authority));
    let tls = Arc::new(Tls::open(files.clone()).unwrap());
    let (ca, address) = (trusted(dir.path(), &authority), serve(Arc::clone(&tls)).await);
    let (end, asked, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let (client, end, asked) = (asker(tls.client(&ca).unwrap(), address), Arc::clone(&end), Arc::clone(&asked));
            tokio::spawn(async move {
                while !end.load(Ordering::Relaxed) {
                    let who = ask(&client, "localhost", address).await.unwrap();
                    assert!(who == "localhost" || who.starts_with("localhost,number-"), "{who}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let refresher = tokio::spawn({
        let (tls, end, swaps) = (Arc::clone(&tls), Arc::clone(&end), Arc::clone(&swaps));
        async move {
            while !end.load(Ordering::Relaxed) {
                swaps.fetch_add(usize::from(tls.refresh().unwrap_or(false)), Ordering::Relaxed);
                sleep(Duration::from_millis(2)).await;
            }
        }
    });
    for number in 0..20 {
        let name = format!("number-{number}");
        let made = authority.make(|params| params.subject_alt_names.push(rcgen::SanType::DnsName(name.as_str().try_into().unwrap())));
        over(&files.cert, &made.cert[..100]);
        sleep(Duration::from_millis(10)).await;
        over(&files.cert, &made.cert);
        sleep(Duration::from_millis(30)).await;
        over(&files.key, &made.key);
        sleep(Duration::from_millis(60)).await;
    }
    let last = ask(&asker(tls.client(&ca).unwrap(), address), "localhost", address).await.unwrap();
    assert_eq!(last, "localhost,number-19");
    end.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.await.unwrap();
    }
    refresher.await.unwrap();
    assert!(asked.load(Ordering::Relaxed) > 20 && swaps.load(Ordering::Relaxed) >= 10, "{asked:?} requests, {swaps:?} swaps");
}
