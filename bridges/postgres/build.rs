//! What stands in migrations is compiled in. And one function of librdkafka's that is not called.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=examples/account/migrations");
    // It ends the process where a partition has no leader: see `eventstore/src/log/kafka/ffi.rs`. Only GNU's linkers know how.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-link-arg=-Wl,--wrap=rd_kafka_metadata_update_op");
    }
}
