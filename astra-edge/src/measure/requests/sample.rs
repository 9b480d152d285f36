//! What is measured of one request, and what a row of them has in common.

use super::method::Method;
use crate::measure::processor_time::ProcessorTime;
use crate::report::Report;
use astra_model::agreement::Agreement;

/// One measured request.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// What it took.
    pub report: Report,
    /// How close its result is to the one-device result.
    pub agreement: Agreement,
    /// Bytes that left the devices meanwhile, as the kernel counts them.
    pub kernel: Option<u64>,
    /// Processor time of the devices meanwhile.
    pub processor_time: Option<ProcessorTime>,
}

impl Sample {
    /// Milliseconds from the input to the answer, of a text to its first token.
    pub(super) fn latency_ms(&self) -> f64 {
        self.report.prefill_ms.unwrap_or(self.report.latency_ms)
    }
}

/// What the requests of a row have in common.
#[derive(Clone, Debug)]
pub struct RowKey {
    /// Name of the link.
    pub preset: Option<String>,
    /// How requests are answered.
    pub method: Method,
    /// Bits per token per block; 0 in exact mode and where no tokens are exchanged.
    pub rung_bits: u16,
}

/// What the same requests take on one device.
#[derive(Clone, Copy, Debug)]
pub struct OneDeviceTimes {
    /// Median latency, milliseconds.
    pub latency_ms: f64,
    /// Processor time of its other threads, milliseconds: preparing the input, which is not part of the latency.
    pub other_ms: f64,
}
