//! The table macros: wire shapes as lists of fields, and codecs as one row for each event and command.

/// A wire struct with the fields of a domain struct, and both conversions. The fields are the frozen shape; the domain
/// struct may move on, and then the conversions are written out.
#[macro_export]
macro_rules! shape {
    ($(#[$meta:meta])* $wire:ident of $domain:ty { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        #[allow(unused_imports, reason = "several of these macros may stand in one module")]
        use $crate::alias::*;
        #[derive(Clone, Debug, PartialEq, $crate::derives::Serialize, $crate::derives::Deserialize, $crate::derives::JsonSchema)]
        #[serde(crate = "daybook_serde")]
        #[schemars(crate = "daybook_schemars")]
        $(#[$meta])*
        #[allow(missing_docs, reason = "fields are named as in the domain, which documents them")]
        pub struct $wire { $($(#[$field_meta])* pub $field: $type),* }
        impl From<$domain> for $wire {
            fn from(domain: $domain) -> Self {
                Self { $($field: domain.$field.into()),* }
            }
        }
        impl From<$wire> for $domain {
            fn from(wire: $wire) -> Self {
                Self { $($field: wire.$field.into()),* }
            }
        }
    };
}

/// A wire enum with the cases of a domain enum, in kebab case, and both conversions.
#[macro_export]
macro_rules! cases {
    ($(#[$meta:meta])* $wire:ident of $domain:ty { $($case:ident),* $(,)? }) => {
        #[allow(unused_imports, reason = "several of these macros may stand in one module")]
        use $crate::alias::*;
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, $crate::derives::Serialize, $crate::derives::Deserialize, $crate::derives::JsonSchema)]
        #[serde(crate = "daybook_serde", rename_all = "kebab-case")]
        #[schemars(crate = "daybook_schemars")]
        #[allow(missing_docs, reason = "cases are named as in the domain, which documents them")]
        pub enum $wire { $($case),* }
        impl From<$domain> for $wire {
            fn from(domain: $domain) -> Self {
                match domain { $(<$domain>::$case => Self::$case),* }
            }
        }
        impl From<$wire> for $domain {
            fn from(wire: $wire) -> Self {
                match wire { $($wire::$case => Self::$case),* }
            }
        }
    };
}

/// The codec of an aggregate: a row for each variant of its `Event` and `Command`, which must be in scope.
/// `codec! { Cart; … }` where the aggregate is of this crate; `codec! { Cart in Shop; … }` where it is another's, and `Shop` is a type
/// of this crate that stands for all its codecs. The crate needs neither serde nor schemars for what is made here.
///
/// `Variant(inner: ShapeV1) = "name" 1;` for a variant around a struct that has a shape,
/// `Variant { field: Type } as ShapeV1 = "name" 1;` for one with fields (the shape is made here), `Variant = "name" 1;` for a bare one.
///
/// A released row changes only by becoming a new version: `Variant(inner: ShapeV2) = "name" 2 from { 1: ShapeV1 };`. The
/// old shape stays as it was, written out, and `impl From<ShapeV1> for ShapeV2` is the upcast.
#[macro_export]
macro_rules! codec {
    ($aggregate:ident; $($halves:tt)*) => { $crate::codec!(@of $aggregate, $aggregate; $($halves)*); };
    ($aggregate:ident in $whose:ty; $($halves:tt)*) => { $crate::codec!(@of $aggregate, $whose; $($halves)*); };
    (@of $aggregate:ident, $whose:ty; events { $($event:tt)* } commands { $($command:tt)* }) => {
        #[allow(unused_imports, reason = "several of these macros may stand in one module")]
        use $crate::alias::*;
        $crate::codec!(@half $aggregate, Event, encode_event_of, decode_event_of, event_shapes, "events"; $($event)*);
        $crate::codec!(@half $aggregate, Command, encode_command_of, decode_command_of, command_shapes, "commands"; $($command)*);
        impl $crate::Codec<$whose> for $aggregate {
            fn encode_event(event: &Event) -> ($crate::envelope::Kind, Vec<u8>) { encode_event_of(event) }
            fn decode_event(kind: &$crate::envelope::Kind, body: &[u8]) -> Result<Event, $crate::envelope::Malformed> { decode_event_of(kind, body) }
            fn encode_command(command: &Command) -> ($crate::envelope::Kind, Vec<u8>) { encode_command_of(command) }
            fn decode_command(kind: &$crate::envelope::Kind, body: &[u8]) -> Result<Command, $crate::envelope::Malformed> { decode_command_of(kind, body) }
            fn shapes() -> Vec<$crate::wire::Shape> { event_shapes().into_iter().chain(command_shapes()).collect() }
        }
    };
    (@half $aggregate:ident, $enum:ident, $encode:ident, $decode:ident, $shapes:ident, $group:literal;
     $($variant:ident $(($inner:ident: $shape:ty))? $({ $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? } as $named:ident)?
       = $name:literal $version:literal $(from { $($old:literal: $older:ty),+ $(,)? })?;)*) => {
        $($(
            #[doc = concat!("The body of `", $name, "`, version ", stringify!($version), ".")]
            #[derive(Clone, Debug, PartialEq, $crate::derives::Serialize, $crate::derives::Deserialize, $crate::derives::JsonSchema)]
            #[serde(crate = "daybook_serde")]
            #[schemars(crate = "daybook_schemars")]
            #[allow(missing_docs, reason = "fields are named as in the domain, which documents them")]
            pub struct $named { $($(#[$meta])* pub $field: $type),* }
        )?)*
        fn $encode(domain: &$enum) -> ($crate::envelope::Kind, Vec<u8>) {
            match domain {
                $($enum::$variant $(($inner))? $({ $($field),* })? => (
                    $crate::envelope::Kind::of(<$aggregate as $crate::kernel::Aggregate>::NAME, $name, $version),
                    $crate::codec!(@encode $($inner: $shape)? $($named { $($field),* })?),
                ),)*
            }
        }
        fn $decode(kind: &$crate::envelope::Kind, body: &[u8]) -> Result<$enum, $crate::envelope::Malformed> {
            match kind.name.as_ref() {
                $($name => Ok($crate::codec!(
                    @decode kind, body, $version [$($($old: $older),+)?] $enum, $variant $($inner: $shape)? $($named { $($field),* })?
                )),)*
                _ => Err($crate::envelope::Malformed::UnknownKind(kind.to_string())),
            }
        }
        fn $shapes() -> Vec<$crate::wire::Shape> {
            let shape = |name, version, schema| {
                $crate::wire::Shape { kind: $crate::envelope::Kind::of(<$aggregate as $crate::kernel::Aggregate>::NAME, name, version), group: $group, schema, beside: true }
            };
            vec![$(
                shape($name, $version, $crate::codec!(@schema $($shape)? $($named)?)),
                $($(shape($name, $old, $crate::alias::daybook_schemars::schema_for!($older)),)+)?
            )*]
        }
    };
    (@encode) => { $crate::codec::to_json(&$crate::wire::Empty {}) };
    (@encode $inner:ident: $shape:ty) => { $crate::codec::to_json(&<$shape>::from($inner.clone())) };
    (@encode $named:ident { $($field:ident),* }) => { $crate::codec::to_json(&$named { $($field: $field.clone().into()),* }) };
    (@read $kind:ident, $body:ident, $newest:literal [$($old:literal: $older:ty),*] $shape:ty) => {
        match $kind.version {
            $newest => $crate::codec::from_json::<$shape>($kind, $body)?,
            $($old => <$shape>::from($crate::codec::from_json::<$older>($kind, $body)?),)*
            newer if newer > $newest => return Err($crate::envelope::Malformed::FromTheFuture($kind.to_string())),
            _ => return Err($crate::envelope::Malformed::UnknownKind($kind.to_string())),
        }
    };
    (@decode $kind:ident, $body:ident, $newest:literal $older:tt $enum:ident, $variant:ident) => {{
        let $crate::wire::Empty {} = $crate::codec!(@read $kind, $body, $newest $older $crate::wire::Empty);
        $enum::$variant
    }};
    (@decode $kind:ident, $body:ident, $newest:literal $older:tt $enum:ident, $variant:ident $inner:ident: $shape:ty) => {
        $enum::$variant($crate::codec!(@read $kind, $body, $newest $older $shape).into())
    };
    (@decode $kind:ident, $body:ident, $newest:literal $older:tt $enum:ident, $variant:ident $named:ident { $($field:ident),* }) => {{
        let $named { $($field),* } = $crate::codec!(@read $kind, $body, $newest $older $named);
        $enum::$variant { $($field: $field.into()),* }
    }};
    (@schema) => { $crate::alias::daybook_schemars::schema_for!($crate::wire::Empty) };
    (@schema $shape:ty) => { $crate::alias::daybook_schemars::schema_for!($shape) };
}
