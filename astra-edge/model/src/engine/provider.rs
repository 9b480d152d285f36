//! Execution providers of ONNX Runtime.
//!
//! Those for accelerators are compiled in by features of this crate (`tensorrt`, `cuda`, `xnnpack`) and need an ONNX Runtime library
//! that was built with them. The CPU provider is always available.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use ort::ep::ExecutionProviderDispatch;
#[cfg(any(feature = "tensorrt", feature = "cuda", feature = "xnnpack"))]
use ort::ep::{self, ExecutionProvider as _};

/// An execution provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// NVIDIA's TensorRT.
    Tensorrt,
    /// NVIDIA's CUDA.
    Cuda,
    /// XNNPACK, on the CPU.
    Xnnpack,
    /// ONNX Runtime's own kernels on the CPU.
    Cpu,
}

impl Provider {
    /// All providers.
    pub const ALL: [Self; 4] = [Self::Tensorrt, Self::Cuda, Self::Xnnpack, Self::Cpu];

    fn name(self) -> &'static str {
        match self {
            Self::Tensorrt => "tensorrt",
            Self::Cuda => "cuda",
            Self::Xnnpack => "xnnpack",
            Self::Cpu => "cpu",
        }
    }

    /// Its registration with a session, for `threads` threads; `None` for the CPU, which every session has.
    ///
    /// # Errors
    /// Why this program, or the loaded library, lacks it.
    pub(super) fn registration(
        self,
        threads: usize,
    ) -> Result<Option<ExecutionProviderDispatch>, String> {
        // Only XNNPACK has its own thread pool.
        let _ = threads;
        match self {
            #[cfg(feature = "tensorrt")]
            Self::Tensorrt => {
                in_library(ep::TensorRT::is_available())?;
                Ok(Some(ep::TensorRT::default().build().error_on_failure()))
            }
            #[cfg(feature = "cuda")]
            Self::Cuda => {
                in_library(ep::CUDA::is_available())?;
                Ok(Some(ep::CUDA::default().build().error_on_failure()))
            }
            #[cfg(feature = "xnnpack")]
            Self::Xnnpack => {
                in_library(ep::XNNPACK::is_available())?;
                let threads =
                    std::num::NonZeroUsize::new(threads).unwrap_or(std::num::NonZeroUsize::MIN);
                let provider = ep::XNNPACK::default().with_intra_op_num_threads(threads);
                Ok(Some(provider.build().error_on_failure()))
            }
            Self::Cpu => Ok(None),
            #[cfg(not(all(feature = "tensorrt", feature = "cuda", feature = "xnnpack")))]
            missing => Err(format!(
                "this program was built without its feature {missing}"
            )),
        }
    }
}

#[cfg(any(feature = "tensorrt", feature = "cuda", feature = "xnnpack"))]
fn in_library(available: ort::Result<bool>) -> Result<(), String> {
    match available {
        Ok(true) => Ok(()),
        Ok(false) => Err("the ONNX Runtime library was built without it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Providers of `wanted` that can be used, in order, up to the CPU, after which no other is needed.
///
/// # Errors
/// None can be used: each with its reason.
pub(super) fn usable(
    wanted: &[Provider],
    mut try_register: impl FnMut(Provider) -> Result<(), String>,
) -> Result<Vec<Provider>, Vec<(Provider, String)>> {
    let (mut usable, mut refused) = (Vec::new(), Vec::new());
    for &provider in wanted {
        match try_register(provider) {
            Ok(()) => usable.push(provider),
            Err(reason) => {
                tracing::info!(%provider, reason, "execution provider not used");
                refused.push((provider, reason));
            }
        }
        if provider == Provider::Cpu {
            break;
        }
    }
    if usable.is_empty() {
        return Err(refused);
    }
    Ok(usable)
}

impl Display for Provider {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|provider| provider.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("execution provider {text:?}: expected one of {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(available: &'static [Provider]) -> impl Fn(Provider) -> Result<(), String> {
        move |provider| match available.contains(&provider) {
            true => Ok(()),
            false => Err(format!("no {provider} here")),
        }
    }

    #[test]
    fn the_order_is_kept_and_ends_with_the_cpu() {
        use Provider::{Cpu, Cuda, Tensorrt, Xnnpack};
        let all = only(&Provider::ALL);
        assert_eq!(usable(&[Cuda, Tensorrt], &all).unwrap(), [Cuda, Tensorrt]);
        assert_eq!(usable(&[Xnnpack, Cpu, Cuda], &all).unwrap(), [Xnnpack, Cpu]);
        let jetson_without_a_gpu = usable(&Provider::ALL, only(&[Cpu]));
        assert_eq!(jetson_without_a_gpu.unwrap(), [Cpu]);
    }

    #[test]
    fn none_at_all_is_an_error_with_every_reason() {
        let refused = usable(&[Provider::Tensorrt, Provider::Cuda], only(&[])).unwrap_err();
        let reasons = [
            (Provider::Tensorrt, "no tensorrt here".to_owned()),
            (Provider::Cuda, "no cuda here".to_owned()),
        ];
        assert_eq!(refused, reasons);
    }

    #[test]
    fn names_are_read_back_and_others_refused() {
        for provider in Provider::ALL {
            assert_eq!(provider.to_string().parse(), Ok(provider));
        }
        let error = "CUDA".parse::<Provider>().unwrap_err();
        assert_eq!(
            error,
            "execution provider \"CUDA\": expected one of tensorrt, cuda, xnnpack, cpu"
        );
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_program_built_without_a_provider_says_so() {
        let error = Provider::Cuda.registration(1).err();
        assert_eq!(
            error.as_deref(),
            Some("this program was built without its feature cuda")
        );
    }
}
