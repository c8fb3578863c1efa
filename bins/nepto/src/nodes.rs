//! Nodes of chains, on the command line: `CHAIN=URL`.

use nepto_sdk::ChainNodes;

/// A node of a chain; without an address, none of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    chain_id: u64,
    url: Option<String>,
}

/// Reads `1=https://node.example.org`, or `1=` for none.
pub fn parse_node(text: &str) -> Result<Node, String> {
    let wanted = "it looks like 1=https://node.example.org: the id of a chain, and the address of a node";
    let (chain_id, url) = text.split_once('=').ok_or(wanted)?;
    let chain_id = chain_id.trim().parse().map_err(|_| wanted)?;
    let url = url.trim();
    if !url.is_empty() && !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(wanted.to_owned());
    }
    Ok(Node { chain_id, url: (!url.is_empty()).then(|| url.to_owned()) })
}

/// Replaces the nodes of every chain that is named.
pub fn replace(nodes: &mut ChainNodes, named: &[Node]) {
    for node in named {
        nodes.remove(&node.chain_id);
    }
    for Node { chain_id, url } in named {
        if let Some(url) = url {
            nodes.entry(*chain_id).or_default().push(url.clone());
        }
    }
}

/// Without what may be a key: the host alone.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_read_replaced_and_shown_without_keys() {
        let node = |text: &str| parse_node(text).unwrap();
        let mut nodes = ChainNodes::new();
        replace(
            &mut nodes,
            &[node("1=https://a.example.org/v2/s3cret"), node("1=http://b.example.org"), node("10=http://c")],
        );
        assert_eq!((nodes[&1].len(), nodes[&10].len()), (2, 1));
        replace(&mut nodes, &[node("1=https://d"), node("10=")]);
        assert_eq!(nodes, ChainNodes::from([(1, vec!["https://d".to_owned()])]));
        for bad in ["", "1", "x=https://a", "1=ftp://a", "=https://a"] {
            assert!(parse_node(bad).is_err(), "{bad}");
        }
        assert_eq!(shown("https://user:pass@a.example.org:8545/v2/s3cret"), "https://a.example.org:8545");
    }
}
