//! What was told, and what was asked.

use std::collections::HashMap;

use super::lie::Lie;

/// The lies in force, and how often each method was asked for.
#[derive(Debug, Default)]
pub(super) struct Orders {
    told: Vec<Told>,
    requests: HashMap<String, usize>,
}

#[derive(Debug)]
struct Told {
    lie: Lie,
    /// Requests that it still holds for; for ever if not said.
    left: Option<usize>,
    /// Requests that it held for.
    seen: usize,
}

impl Orders {
    pub fn tell(&mut self, lie: Lie, requests: Option<usize>) {
        self.told.push(Told { lie, left: requests, seen: 0 });
    }

    pub fn truth(&mut self) {
        self.told.clear();
    }

    pub fn requests(&self, method: &str) -> usize {
        self.requests.get(method).copied().unwrap_or_default()
    }

    /// Counts a request, and says which lies it shall be answered with.
    pub fn take(&mut self, method: &str) -> Vec<Lie> {
        *self.requests.entry(method.to_owned()).or_default() += 1;
        let mut lies = Vec::new();
        for told in self.told.iter_mut().filter(|told| told.lie.concerns(method)) {
            told.seen += 1;
            if told.seen.is_multiple_of(told.lie.every()) {
                lies.push(told.lie.clone());
            }
            if let Some(left) = &mut told.left {
                *left = left.saturating_sub(1);
            }
        }
        self.told.retain(|told| told.left != Some(0));
        lies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lying_rpc::dialect::Refusal;

    #[test]
    fn a_lie_holds_for_the_requests_that_it_has_to_do_with() {
        let mut orders = Orders::default();
        orders.tell(Lie::Empty, Some(2));
        assert_eq!(orders.take("eth_blockNumber"), []);
        assert_eq!(orders.take("eth_getLogs"), [Lie::Empty]);
        assert_eq!(orders.take("eth_getBlockReceipts"), [Lie::Empty]);
        assert_eq!(orders.take("eth_getLogs"), []);
        assert_eq!((orders.requests("eth_getLogs"), orders.requests("eth_call")), (2, 0));
    }

    #[test]
    fn every_third_request_is_refused() {
        let mut orders = Orders::default();
        let limit = Lie::RateLimit { every: 3, retry_after_s: 1, form: Refusal::Code429 };
        orders.tell(limit, None);
        let refused: Vec<bool> = (0..7).map(|_| !orders.take("eth_call").is_empty()).collect();
        assert_eq!(refused, [false, false, true, false, false, true, false]);
        orders.truth();
        assert!((0..7).all(|_| orders.take("eth_call").is_empty()));
    }
}
