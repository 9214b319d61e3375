//! The macro for events of a service whose types a follower does not have: what it knows of their wire shapes.

/// A source for policies, of a service that is somebody else's: the kinds of its events that are followed, and of each the
/// fields that are needed.
///
/// ```
/// daybook_schemas::source! {
///     /// Customers of the shop.
///     Customers: CustomerEvent = "customer" {
///         Registered { data: String } as RegisteredSeen = "registered" 1;
///         Left = "left" 1;
///     }
/// }
/// ```
///
/// Kinds that are not named are passed over; of those that are, a newer version stops the partition, since what it means is not
/// known. Fields that are not named are passed over. `Registered { … } as RegisteredSeen = "registered" 2 from { 1: RegisteredSeenV1 };`
/// reads an older version as well, by `impl From<RegisteredSeenV1> for RegisteredSeen`. A golden record of each kind, from whoever
/// writes it, holds this to what is really written: see [`golden::check_source`](crate::golden::check_source).
#[macro_export]
macro_rules! source {
    ($(#[$meta:meta])* $source:ident: $event:ident = $aggregate:literal {
        $($variant:ident $({ $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? } as $seen:ident)?
          = $name:literal $version:literal $(from { $($old:literal: $older:ty),+ $(,)? })?;)*
    }) => {
        #[allow(unused_imports, reason = "several of these macros may stand in one module")]
        use $crate::alias::*;
        $(#[$meta])*
        pub struct $source;
        #[doc = concat!("What `", $aggregate, "` has written, as far as it is followed.")]
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "named as its writer names them")]
        pub enum $event { $($variant $(($seen))?),* }
        $($(
            #[doc = concat!("What is read of `", $name, "`.")]
            #[derive(Clone, Debug, PartialEq, $crate::derives::Serialize, $crate::derives::Deserialize)]
            #[serde(crate = "daybook_serde")]
            #[allow(missing_docs, reason = "named as its writer names them")]
            pub struct $seen { $($(#[$field_meta])* pub $field: $type),* }
        )?)*
        impl $crate::kernel::Source for $source {
            const NAME: &'static str = $aggregate;
            type Event = $event;
        }
        impl $crate::Readable for $source {
            fn read(kind: &$crate::envelope::Kind, body: &[u8]) -> Result<Option<$event>, $crate::envelope::Malformed> {
                match kind.name.as_ref() {
                    $($name => Ok(Some($crate::source!(@read kind, body, $version [$($($old: $older),+)?] $event, $variant $($seen)?))),)*
                    _ => Ok(None),
                }
            }
            fn kinds() -> Vec<$crate::envelope::Kind> {
                vec![$($crate::envelope::Kind::of($aggregate, $name, $version)),*]
            }
        }
    };
    (@read $kind:ident, $body:ident, $newest:literal $older:tt $event:ident, $variant:ident) => {{
        let $crate::wire::Empty {} = $crate::codec!(@read $kind, $body, $newest $older $crate::wire::Empty);
        $event::$variant
    }};
    (@read $kind:ident, $body:ident, $newest:literal $older:tt $event:ident, $variant:ident $seen:ident) => {
        $event::$variant($crate::codec!(@read $kind, $body, $newest $older $seen))
    };
}
