//! Images of others, where no registry can be reached: Debian as debootstrap makes it, and on it the same programs under the names that
//! `compose/` uses. What they do is the programs'; how the real images start them is not tried with these.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::docker::IMAGE;
use super::engine::{Engine, said};
use crate::dist::default_argument;
use crate::paths::Paths;
use crate::tools::{self, Tools};

/// In place of Grafana: it reads what Grafana is given to read, writes where that writes, and listens where that does.
const GRAFANA: &str = concat!(
    r#"["sh", "-ec", "cat /secrets/grafana/password /etc/grafana/provisioning/*/nepto.yml /dashboards/*.json > /dev/null; "#,
    r#"touch /volumes/grafana/grafana.db; mkdir -p /tmp/www/api; echo well > /tmp/www/api/health; "#,
    r#"exec busybox httpd -f -p 3000 -h /tmp/www"]"#
);

/// Sees to it that there is the Debian that images are made on, and returns its name.
pub fn debian(engine: &Engine, paths: &Paths) -> Result<String> {
    let dockerfile = fs::read_to_string(paths.root.join("compose/Dockerfile"))?;
    let name = default_argument(&dockerfile, "DEBIAN_IMAGE")?;
    if !is_there(engine, &name) {
        import_debian(engine, paths, &name)?;
    }
    Ok(name)
}

fn is_there(engine: &Engine, image: &str) -> bool {
    engine.docker().args(["image", "inspect", image]).output().is_ok_and(|it| it.status.success())
}

/// Sees to it that every image of others is there; that of the chain, which has the client of [`IMAGE`], if it is asked for.
pub fn provide(engine: &Engine, paths: &Paths, work: &Path, has_chain: bool) -> Result<()> {
    let debian = debian(engine, paths)?;
    let names = of_others(&fs::read_to_string(paths.root.join("compose/compose.yaml"))?);
    let tools = Tools::find_or_install(paths)?;
    for (name, image) in &names {
        if is_there(engine, image) && name != "CHAIN" {
            continue;
        }
        let (programs, entrypoint): (Vec<PathBuf>, &str) = match name.as_str() {
            "NATS" => (vec![tools.nats.clone()], r#"["nats-server"]"#),
            "REDIS" => (vec![tools.redis.clone(), which("redis-cli")?], "[]"),
            "CHAIN" if has_chain => {
                build_chain(engine, paths, work, &debian, image)?;
                continue;
            }
            "CADDY" => (vec![tools::docker::caddy(paths)?], "[]"),
            "PROMETHEUS" => (vec![tools::prometheus::find_or_install(paths)?.server], r#"["prometheus"]"#),
            "NODE_EXPORTER" => (vec![tools::prometheus::node_exporter(paths)?], r#"["prometheus-node-exporter"]"#),
            // nobody else has its program
            "GRAFANA" => (Vec::new(), GRAFANA),
            _ => continue,
        };
        build(engine, work, &debian, image, &programs, entrypoint).with_context(|| image.clone())?;
    }
    Ok(())
}

/// The images of others in a Compose file: `${NEPTO_<NAME>_IMAGE:-<image>}`.
fn of_others(compose: &str) -> BTreeMap<String, String> {
    let found = compose.split("${NEPTO_").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("_IMAGE:-")?;
        Some((name.to_owned(), rest.split('}').next()?.to_owned()))
    });
    found.filter(|(name, _)| name.bytes().all(|letter| letter.is_ascii_uppercase() || letter == b'_')).collect()
}

fn which(program: &str) -> Result<PathBuf> {
    Ok(said(Command::new("sh").args(["-c", "command -v \"$1\"", "sh", program]))?.into())
}

/// The smallest Debian, with what health checks call.
fn import_debian(engine: &Engine, paths: &Paths, name: &str) -> Result<()> {
    let folder = paths.tools.join("debian-bookworm");
    if !folder.join("bin/busybox").exists() {
        eprintln!("Making a Debian for images");
        let _ = fs::remove_dir_all(&folder);
        let mut debootstrap = Command::new(tools::docker::debootstrap()?);
        debootstrap.args(["--variant=minbase", "--include=ca-certificates,busybox", "bookworm"]).arg(&folder);
        tools::run(&mut debootstrap)?;
    }
    let mut tar = Command::new("tar");
    tar.args(["--create", "--file=-", "--directory"]).arg(&folder).arg(".").stdout(Stdio::piped());
    let mut tar = tar.spawn().context("tar can't be started")?;
    let archive = tar.stdout.take().context("tar has an output")?;
    let imported = said(engine.docker().args(["import", "-", name]).stdin(archive));
    if !tar.wait()?.success() {
        bail!("{} can't be packed", folder.display());
    }
    imported.map(drop)
}

/// Programs with the libraries that they are linked to, and `wget`.
fn build(
    engine: &Engine,
    work: &Path,
    debian: &str,
    image: &str,
    programs: &[PathBuf],
    entrypoint: &str,
) -> Result<()> {
    let context = work.join("stand-in");
    let _ = fs::remove_dir_all(&context);
    fs::create_dir_all(context.join("root/usr/local/bin"))?;
    for program in programs {
        // under the name that it was found by, also where that is a link or has a version
        let name = program.file_name().and_then(|name| name.to_str()).context("a program has a name")?;
        let name = name
            .rsplit_once('-')
            .filter(|(_, end)| end.starts_with(|c: char| c.is_ascii_digit()))
            .map_or(name, |(name, _)| name);
        fs::copy(program, context.join("root/usr/local/bin").join(name))?;
        let copy =
            r#"ldd "$1" | grep -o '/[^ ]*' | sort -u | xargs -r cp --parents --dereference --target-directory="$2""#;
        tools::run(Command::new("sh").args(["-c", copy, "sh"]).arg(program).arg(context.join("root")))?;
    }
    // folders that are links in Debian must not be replaced
    let dockerfile = format!(
        "FROM {debian}\nCOPY root/ /stand-in/\nRUN cp -r /stand-in/usr/local/bin/. /usr/local/bin/ && for folder in lib lib64; do if \
         [ -d /stand-in/$folder ]; then cp -rn /stand-in/$folder/. /$folder/; fi; done && if [ -d /stand-in/usr/lib ]; then cp -rn \
         /stand-in/usr/lib/. /usr/lib/; fi && ln -s /bin/busybox /usr/local/bin/wget && rm -r /stand-in\nENTRYPOINT {entrypoint}\n"
    );
    fs::write(context.join("Dockerfile"), dockerfile)?;
    // it has nothing to fetch, and no network
    said(engine.docker().args(["build", "--quiet", "--network=none", "--tag", image]).arg(&context))?;
    Ok(fs::remove_dir_all(&context)?)
}

/// The chain of profile `dev`, by its own Dockerfile: on a Debian with Node, of packages that lie in the checkout.
fn build_chain(engine: &Engine, paths: &Paths, work: &Path, debian: &str, image: &str) -> Result<()> {
    let node = "node:stand-in";
    build(engine, work, debian, node, &[which("node")?], "[]")?;
    let context = work.join("chain");
    let _ = fs::remove_dir_all(&context);
    fs::create_dir_all(context.join("compose"))?;
    for folder in ["contracts", "compose/dev"] {
        tools::run(Command::new("cp").arg("-r").arg(paths.root.join(folder)).arg(context.join(folder)))?;
    }
    let mut docker = engine.docker();
    docker
        .args(["build", "--quiet", "--network=none", "--tag", image, "--file"])
        .arg(context.join("compose/dev/Dockerfile"));
    docker.args(["--build-arg", &format!("NODE_IMAGE={node}"), "--build-arg", &format!("NEPTO_IMAGE={IMAGE}")]);
    said(docker.arg(&context))?;
    Ok(fs::remove_dir_all(&context)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_of_others_has_a_variable_and_a_version() {
        let root = Paths::find().unwrap().root;
        let text = fs::read_to_string(root.join("compose/compose.yaml")).unwrap();
        let images = of_others(&text);
        for name in ["NATS", "REDIS", "CADDY", "PROMETHEUS", "NODE_EXPORTER", "GRAFANA"] {
            assert!(images.contains_key(name), "{images:?}");
        }
        for image in images.values() {
            let version = image.rsplit_once(':').map(|(_, version)| version);
            assert!(version.is_some_and(|version| version.contains('.') && !version.contains("latest")), "{image}");
        }
        let lines = text.lines().filter(|line| line.trim_start().starts_with("image: "));
        for line in lines {
            assert!(
                line.contains("_IMAGE:-") || line.contains("image: *"),
                "{line}: it can't be replaced by a variable"
            );
        }
    }
}
