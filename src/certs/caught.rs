//! A panic in what makes certificates, as of a library that is answered what it did
//! not foresee: it fails the try that it is in, and no later one.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::error::CertError;

/// What `work` gives, or that it panicked. Cancel safe if `work` is.
pub(super) fn caught<T, E: From<CertError>>(
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    // An order is large, and would be part of all that waits for it.
    AssertUnwindSafe(Box::pin(work))
        .catch_unwind()
        .map(|outcome| outcome.unwrap_or_else(|panic| Err(CertError::Panicked(words(&*panic)).into())))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it did not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_in_its_own_words() {
        let told = async |number: u32| {
            let work = async || match number {
                0 => panic!("never"),
                1 => panic!("never {number}"),
                2 => std::panic::panic_any(number),
                _ => Ok::<_, CertError>(number),
            };
            caught(work()).await.map_err(|error| error.to_string())
        };
        let panicked = |why: &str| Err(format!("it panicked: {why}"));
        let expected = [panicked("never"), panicked("never 1"), panicked("it did not say why"), Ok(3)];
        assert_eq!([told(0).await, told(1).await, told(2).await, told(3).await], expected);
    }
}
