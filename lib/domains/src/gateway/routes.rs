//! Which domain gets which frames: said by the domains, checked at the start of a process, looked up for every frame.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::bail;
use nepto_kit::frames::{FrameHandler, Price};
use nepto_proto::frame::ClientKind;
use nepto_proto::subject::Live;
use nepto_proto::wire::{Hello, Ping};

/// Nobody who follows the protocol sends these.
pub const UNEXPECTED: Price = Price::Units(4);

/// Who gets a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The gateway itself.
    Gateway,
    /// The domain at this place.
    Domain(usize),
}

/// Who gets each kind of frame and each live subject, and what a frame costs.
#[derive(Debug)]
pub struct Routes {
    kinds: HashMap<u32, (Owner, Price)>,
    /// The domain of each [`Live`], in the order of [`Live::ALL`].
    live: [Option<usize>; Live::ALL.len()],
}

impl Routes {
    /// The tables of these domains. Fails where two of them want the same.
    pub fn of(handlers: &[Arc<dyn FrameHandler>]) -> anyhow::Result<Self> {
        let own = [(Hello::NUMBER, (Owner::Gateway, UNEXPECTED)), (Ping::NUMBER, (Owner::Gateway, Price::Units(1)))];
        let mut routes = Self { kinds: own.into(), live: [None; Live::ALL.len()] };
        for (place, handler) in handlers.iter().enumerate() {
            let domain = handler.domain();
            for kind in handler.kinds() {
                // 1 is the id of a frame
                if kind.number < 2 {
                    bail!("{domain} takes frames of the kind {}, which is none", kind.number);
                }
                if let Some((owner, _)) = routes.kinds.insert(kind.number, (Owner::Domain(place), kind.price)) {
                    let other = match owner {
                        Owner::Gateway => "the gateway",
                        Owner::Domain(other) => handlers[other].domain(),
                    };
                    bail!("{other} and {domain} both take frames of the kind {}", kind.number);
                }
            }
            for live in handler.live() {
                let is_own = *live == Live::Control;
                match routes.live[index(*live)].replace(place) {
                    None if !is_own => {}
                    None => bail!("the gateway and {domain} both take what is live as {live:?}"),
                    Some(other) => {
                        bail!("{} and {domain} both take what is live as {live:?}", handlers[other].domain())
                    }
                }
            }
        }
        Ok(routes)
    }

    /// Whether anybody takes this kind of frame.
    pub fn knows(&self, kind: u32) -> bool {
        self.kinds.contains_key(&kind)
    }

    /// Who takes it, and what it costs.
    pub fn of_kind(&self, kind: u32) -> Option<(Owner, Price)> {
        self.kinds.get(&kind).copied()
    }

    /// The domain that takes what is live.
    pub fn of_live(&self, live: Live) -> Option<usize> {
        self.live[index(live)]
    }
}

const fn index(live: Live) -> usize {
    live as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::BoxFuture;
    use nepto_kit::Failure;
    use nepto_kit::frames::{AnySession, FrameKind, Opening};
    use nepto_proto::wire::{SendDm, Typing};

    struct Takes(&'static str, &'static [FrameKind], &'static [Live]);

    impl FrameHandler for Takes {
        fn domain(&self) -> &'static str {
            self.0
        }

        fn kinds(&self) -> &'static [FrameKind] {
            self.1
        }

        fn live(&self) -> &'static [Live] {
            self.2
        }

        fn open<'a>(&'a self, _: Opening<'a>) -> BoxFuture<'a, Result<Box<dyn AnySession>, Failure>> {
            unreachable!("no socket is opened here")
        }
    }

    const SENDS: &[FrameKind] = &[FrameKind::of::<SendDm>(Price::Free)];
    const TYPES: &[FrameKind] = &[FrameKind::of::<Typing>(Price::Units(1))];
    const PINGS: &[FrameKind] = &[FrameKind::of::<Ping>(Price::Units(1))];
    const NOTHING: &[FrameKind] = &[FrameKind { number: 1, price: Price::Free }];

    fn of(domains: Vec<Takes>) -> Result<Routes, String> {
        let handlers: Vec<Arc<dyn FrameHandler>> =
            domains.into_iter().map(|domain| Arc::new(domain) as Arc<dyn FrameHandler>).collect();
        Routes::of(&handlers).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_goes_to_the_domain_that_takes_it() {
        let routes = of(vec![Takes("a", TYPES, &[Live::Typing]), Takes("b", SENDS, &[Live::Dm])]).unwrap();
        assert_eq!(routes.of_kind(SendDm::NUMBER), Some((Owner::Domain(1), Price::Free)));
        assert_eq!(routes.of_kind(Typing::NUMBER), Some((Owner::Domain(0), Price::Units(1))));
        assert_eq!(routes.of_kind(Ping::NUMBER), Some((Owner::Gateway, Price::Units(1))));
        assert_eq!((routes.of_kind(6), routes.knows(6)), (None, false));
        assert_eq!((routes.of_live(Live::Dm), routes.of_live(Live::Keys)), (Some(1), None));
    }

    #[test]
    fn two_domains_with_one_kind_do_not_start() {
        for (domains, named) in [
            (vec![Takes("a", SENDS, &[]), Takes("b", SENDS, &[])], "a and b both take frames of the kind 3"),
            (vec![Takes("a", PINGS, &[])], "the gateway and a both take frames of the kind 7"),
            (vec![Takes("a", NOTHING, &[])], "a takes frames of the kind 1"),
            (vec![Takes("a", &[], &[Live::Dm]), Takes("b", &[], &[Live::Dm])], "a and b both take what is live as Dm"),
            (vec![Takes("a", &[], &[Live::Control])], "the gateway and a both take what is live"),
        ] {
            let refused = of(domains).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
    }

    #[test]
    fn the_table_of_what_is_live_has_a_place_for_each() {
        for (place, live) in Live::ALL.into_iter().enumerate() {
            assert_eq!(index(live), place);
        }
    }
}
