//! Random bytes for salts and identifiers.

/// `N` random bytes from the cryptographic library.
///
/// The operating system's generator does not fail once it has started; should it, the process
/// stops: a salt that is not random would reveal what it was meant to hide.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::error!("the system gives no random bytes; stopping");
        std::process::abort();
    }
    bytes
}
