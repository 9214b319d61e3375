//! The four calls that rdkafka's safe half lacks, and one of librdkafka's that is not made. The only unsafe code of the project;
//! knows nothing but pointers.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};
use rdkafka_sys as sys;

use super::fault::Trouble;

/// A member's standing in its group: its name there and the group's generation. None before it joined, and after the
/// group threw it out: a transactional offset commit without both is let through by the broker, for old clients'
/// sake, even in a live group, so it must never be sent.
pub fn standing<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<(String, u64)> {
    let client = consumer.client().native_ptr();
    // SAFETY: the client outlives the calls. Both return memory that is ours, freed below by the functions librdkafka
    // names for it; the text is copied before.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(client);
        if metadata.is_null() {
            return None;
        }
        let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata);
        let member = CStr::from_ptr(sys::rd_kafka_consumer_group_metadata_member_id(metadata)).to_string_lossy().into_owned();
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        let generation = u64::try_from(generation).ok()?;
        if member.is_empty() { None } else { Some((member, generation)) }
    }
}

/// Commits the open transaction, within `time` or with an error after which the call can be made again. rdkafka's own call polls in slices of 100 ms first
/// (<https://github.com/fede1024/rust-rdkafka/pull/777>); this one returns when the broker has answered, since the
/// producer's thread serves the delivery reports that librdkafka waits for.
pub fn commit<C: ProducerContext + 'static>(producer: &ThreadedProducer<C>, time: Duration) -> Result<(), Trouble> {
    let time = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives the call; a returned error is ours, read and then freed.
    unsafe {
        let error = sys::rd_kafka_commit_transaction(producer.client().native_ptr(), time);
        if error.is_null() {
            return Ok(());
        }
        let trouble = Trouble {
            code: RDKafkaErrorCode::from(sys::rd_kafka_error_code(error)),
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
            retriable: sys::rd_kafka_error_is_retriable(error) != 0,
            abort: sys::rd_kafka_error_txn_requires_abort(error) != 0,
            text: CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy().into_owned(),
        };
        sys::rd_kafka_error_destroy(error);
        Err(trouble)
    }
}

/// Where a partition ends, as the last answer to a fetch said; none before the first. Asks nobody.
pub fn end_seen<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &CStr, partition: i32) -> Option<u64> {
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client and the name outlive the call, which writes two numbers.
    let told = unsafe { sys::rd_kafka_get_watermark_offsets(consumer.client().native_ptr(), topic.as_ptr(), partition, &mut low, &mut high) };
    if RDKafkaErrorCode::from(told) == RDKafkaErrorCode::NoError { u64::try_from(high).ok() } else { None }
}

/// What a client signs in with from now on, where it signs in by name and password. Connections that stand go on.
pub fn sign_in<C: ClientContext>(client: &Client<C>, user: &str, password: &str) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|_| "a name or a password with a zero byte".to_owned());
    let (user, password) = (text(user)?, text(password)?);
    // SAFETY: the client and both texts outlive the call, which copies them; a returned error is ours, read and then freed.
    unsafe {
        let error = sys::rd_kafka_sasl_set_credentials(client.native_ptr(), user.as_ptr(), password.as_ptr());
        if error.is_null() {
            return Ok(());
        }
        let why = CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        sys::rd_kafka_error_destroy(error);
        Err(why)
    }
}

/// What a program is linked with instead of librdkafka's function of this name, by `-Wl,--wrap` in its `build.rs`. It takes in the
/// leaders that a broker tells with a refused fetch (KIP-951). For a partition that has none, as moments after a broker has
/// started, librdkafka (2.5 to 2.12 at least) leaves a place in the list as `malloc` gave it, takes it for a partition's number, and
/// the process ends by SIGSEGV (`rd_kafka_handle_Fetch_metadata_update`: room for all partitions that were told of, filled for
/// those with a leader). Passed over, leaders are asked for as they were before KIP-951. The list is freed by its operation.
#[unsafe(no_mangle)]
pub extern "C" fn __wrap_rd_kafka_metadata_update_op(_client: *mut std::ffi::c_void, _leaders: *mut std::ffi::c_void) -> std::ffi::c_int {
    HANDLED
}

/// `RD_KAFKA_OP_RES_HANDLED`, of librdkafka's `rd_kafka_op_res_t`.
const HANDLED: std::ffi::c_int = 1;

/// Every error that librdkafka knows, with its name there.
#[cfg(test)]
pub fn every_code() -> Vec<(RDKafkaErrorCode, String)> {
    let (mut described, mut count) = (std::ptr::null(), 0);
    // SAFETY: the table is librdkafka's own and constant; entries without a name are holes in it and are not looked at.
    unsafe {
        sys::rd_kafka_get_err_descs(&mut described, &mut count);
        let entries = (0..count).map(|at| described.add(at)).filter(|entry| !(*std::ptr::addr_of!((**entry).name)).is_null());
        entries.map(|entry| (RDKafkaErrorCode::from((*entry).code), CStr::from_ptr((*entry).name).to_string_lossy().into_owned())).collect()
    }
}
