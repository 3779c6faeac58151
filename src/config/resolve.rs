//! Precedence: which of the options, the URL and the variables counts. The rules stand in the module above.

use std::time::Duration;

use super::env::{self, Env};
use super::fields::{ATTEMPTS, DB, MS};
use super::input::{self, Input, Options};
use super::secret::Secret;
use super::tls::Wish;
use super::{Config, Fallback, Retry, Target, host, invalid, url};
use crate::error::Result;

/// What one place says beside the address. An empty text is a decision for none.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) db: Option<Db>,
    pub(super) tls: Option<Wish>,
}

/// A database number, and who gave it.
#[derive(Clone)]
pub(super) struct Db {
    pub(super) number: u32,
    pub(super) name: String,
}

impl Login {
    fn of_options(options: &Options) -> Self {
        Self {
            username: options.username.clone(),
            password: options.password.clone(),
            db: options.db.map(|number| Db { number, name: "db".to_owned() }),
            tls: options.tls.clone(),
        }
    }

    /// What `self` leaves out comes from `later`.
    fn or(self, later: Login) -> Self {
        Self {
            username: self.username.or(later.username),
            password: self.password.or(later.password),
            db: self.db.or(later.db),
            tls: match self.tls {
                Some(wish) => Some(wish.or_details(later.tls.as_ref())),
                None => later.tls,
            },
        }
    }

    /// What `self` leaves out comes from the four variables; the others are not looked at.
    fn or_env(mut self, env: &Env) -> Result<Self> {
        if self.username.is_none() {
            self.username = env.text(env::USERNAME).map(str::to_owned);
        }
        if self.password.is_none() {
            self.password = env.text(env::PASSWORD).map(Secret::new);
        }
        if self.db.is_none() {
            let number = env.whole(env::DB_NAME, DB)?;
            self.db = number.map(|number| Db { number, name: env::DB_NAME.to_owned() });
        }
        if self.tls.is_none() {
            let on = env.flag(env::TLS)?;
            self.tls = on.map(|on| if on { Wish::On(Default::default()) } else { Wish::Off });
        }
        Ok(self)
    }
}

pub(super) fn resolve(input: Input) -> Result<Config> {
    let Input { options, env } = input;
    let (target, login) = address(&options, &env)?;
    let mut config = Config::new(target);
    sign_in(&mut config, login)?;

    config.client_name = options.client_name.filter(|name| !name.is_empty());
    config.key_prefix = match options.key_prefix {
        Some(prefix) => prefix,
        None => env.text(env::KEY_PREFIX).unwrap_or_default().to_owned(),
    };
    let or_env = |option: Option<Duration>, name: &str, default: Duration| match option {
        Some(time) => Ok(time),
        None => env.whole(name, MS).map(|ms| ms.map_or(default, Duration::from_millis)),
    };
    config.connect_timeout = or_env(options.connect_timeout, env::CONNECT_TIMEOUT, config.connect_timeout)?;
    config.command_timeout = or_env(options.command_timeout, env::COMMAND_TIMEOUT, config.command_timeout)?;
    config.keep_alive = options.keep_alive.unwrap_or(config.keep_alive);
    let attempts = match options.attempts {
        Some(attempts) => Some(attempts),
        None => env.whole(env::RETRY_ATTEMPTS, ATTEMPTS)?,
    };
    config.retry = retry(attempts, options.base_delay, options.max_delay);
    config.max_buffered_bytes = options.max_buffered_bytes.unwrap_or(config.max_buffered_bytes);
    config.fallback = match options.fallback {
        Some(fallback) => fallback,
        None => env.flag(env::ENABLE_FALLBACK)?.unwrap_or(false).then(Fallback::default),
    };
    config.breaker = options.breaker.unwrap_or(config.breaker);
    Ok(config)
}

/// Of the two delays, one that is left out gives way to the other.
fn retry(attempts: Option<u32>, base: Option<Duration>, max: Option<Duration>) -> Retry {
    let default = Retry::default();
    let (base_delay, max_delay) = match (base, max) {
        (Some(base), Some(max)) => (base, max),
        (Some(base), None) => (base, default.max_delay.max(base)),
        (None, Some(max)) => (default.base_delay.min(max), max),
        (None, None) => (default.base_delay, default.max_delay),
    };
    Retry { attempts: attempts.unwrap_or(default.attempts), base_delay, max_delay }
}

/// Login, database and TLS, as far as the target has them.
fn sign_in(config: &mut Config, login: Login) -> Result<()> {
    let (db, tls) = match &config.target {
        Target::Tcp { .. } | Target::Sentinel { .. } => (login.db, login.tls),
        Target::Unix { .. } => (login.db, None),
        Target::Cluster { .. } => match login.db {
            Some(Db { number: 1.., name }) => {
                return Err(invalid(format!("{name} must be 0: a cluster has no other database")));
            }
            db @ (Some(_) | None) => (db, login.tls),
        },
        Target::Memory | Target::Disabled | Target::Upstash { .. } => return Ok(()),
    };
    config.username = login.username.filter(|text| !text.is_empty());
    config.password = login.password.filter(|text| !text.is_empty());
    config.db = db.map_or(0, |db| db.number);
    config.tls = tls.and_then(Wish::into_tls);
    Ok(())
}

fn address(options: &Options, env: &Env) -> Result<(Target, Login)> {
    let has_host = options.host.is_some() || options.port.is_some();
    let given: Vec<&str> = [
        ("url", options.url.is_some()),
        ("cluster", options.cluster.is_some()),
        ("sentinel", options.sentinel.is_some()),
        ("upstash", options.upstash.is_some()),
        ("host or port", has_host && options.url.is_none()),
    ]
    .into_iter()
    .filter_map(|(name, is_given)| is_given.then_some(name))
    .collect();
    if let [first, second, ..] = given.as_slice() {
        return Err(invalid(format!("{first} and {second} are two addresses: give only one of them")));
    }

    let own = Login::of_options(options);
    if let Some(text) = &options.url {
        let (target, login) = url::parse("url", text)?;
        return Ok((target, login.or(own)));
    }
    if let Some(target) = [&options.cluster, &options.sentinel, &options.upstash].into_iter().flatten().next()
    {
        // Upstash has no login of this kind: a bad variable for it must not stand in the way.
        let login = if let Target::Upstash { .. } = target { own } else { own.or_env(env)? };
        return Ok((target.clone(), login));
    }
    if has_host {
        return Ok((tcp(options, env)?, own.or_env(env)?));
    }
    from_env(options, env, own)
}

/// Where the options have no address.
fn from_env(options: &Options, env: &Env, own: Login) -> Result<(Target, Login)> {
    let is_cluster = env.flag(env::CLUSTER);
    if let Some((name, text)) =
        [env::REDIS_URL, env::KV_URL].iter().find_map(|name| Some((*name, env.text(name)?)))
    {
        let (target, login) = url::parse(name, text)?;
        if matches!(target, Target::Memory | Target::Disabled) {
            return Ok((target, login));
        }
        let target = match (target, is_cluster?) {
            (Target::Tcp { host, port }, Some(true)) => Target::cluster(vec![(host, port)]),
            (Target::Unix { .. }, Some(true)) => {
                return Err(invalid(format!("{name} must be a TCP address where REDIS_CLUSTER is true")));
            }
            (target, Some(_) | None) => target,
        };
        return Ok((target, own.or(login).or_env(env)?));
    }
    let is_cluster = is_cluster?;
    if let Some(list) = env.list(env::CLUSTER_NODES).filter(|_| is_cluster != Some(false)) {
        let nodes = nodes(env::CLUSTER_NODES, &list, host::DEFAULT_PORT)?;
        return Ok((Target::cluster(nodes), own.or_env(env)?));
    }
    if is_cluster == Some(true) {
        let (host, port) = host_and_port(options, env)?;
        return Ok((Target::cluster(vec![(host, port)]), own.or_env(env)?));
    }
    if let Some((list, master)) =
        both(env.list(env::SENTINELS), env.text(env::SENTINEL_MASTER), SENTINEL_NAMES)?
    {
        let nodes = nodes(env::SENTINELS, &list, host::DEFAULT_SENTINEL_PORT)?;
        let target = Target::Sentinel { nodes, master: master.to_owned(), username: None, password: None };
        return Ok((target, own.or_env(env)?));
    }
    if let Some((address, token)) =
        both(env.text(env::UPSTASH_URL), env.text(env::UPSTASH_TOKEN), UPSTASH_NAMES)?
    {
        let url = url::rest(env::UPSTASH_URL, address)?;
        return Ok((Target::Upstash { url, token: input::token(env::UPSTASH_TOKEN, token)? }, own));
    }
    Ok((tcp(options, env)?, own.or_env(env)?))
}

const SENTINEL_NAMES: [&str; 2] = [env::SENTINELS, env::SENTINEL_MASTER];
const UPSTASH_NAMES: [&str; 2] = [env::UPSTASH_URL, env::UPSTASH_TOKEN];

/// Two variables that only mean something together.
fn both<A, B>(first: Option<A>, second: Option<B>, [one, two]: [&str; 2]) -> Result<Option<(A, B)>> {
    match (first, second) {
        (Some(first), Some(second)) => Ok(Some((first, second))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(invalid(format!("{one} is set but {two} is not"))),
        (None, Some(_)) => Err(invalid(format!("{two} is set but {one} is not"))),
    }
}

fn nodes(name: &str, list: &[&str], default_port: u16) -> Result<Vec<(String, u16)>> {
    if list.is_empty() {
        return Err(invalid(format!("{name} must have at least one host:port")));
    }
    list.iter().map(|node| host::node(name, node, default_port)).collect()
}

fn tcp(options: &Options, env: &Env) -> Result<Target> {
    let (host, port) = host_and_port(options, env)?;
    Ok(Target::Tcp { host, port })
}

fn host_and_port(options: &Options, env: &Env) -> Result<(String, u16)> {
    let host = match (&options.host, env.text(env::HOST)) {
        (Some(host), Some(_) | None) => host.clone(),
        (None, Some(host)) => host::check(env::HOST, host)?,
        (None, None) => host::DEFAULT_HOST.to_owned(),
    };
    let port = match options.port {
        Some(port) => port,
        None => env.port()?.unwrap_or(host::DEFAULT_PORT),
    };
    Ok((host, port))
}
