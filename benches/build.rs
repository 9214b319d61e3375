//! One function of librdkafka's is not called.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // It ends the process where a partition has no leader: see `eventstore/src/log/kafka/ffi.rs`. Only GNU's linkers know how.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-link-arg=-Wl,--wrap=rd_kafka_metadata_update_op");
    }
}
