//! Load assignments as Envoy reads them: `envoy.config.endpoint.v3.ClusterLoadAssignment`, with the fields that Arks sets.
//!
//! They are encoded here because one is sent at every change of a weight, which a load report in two brings about.

use std::collections::BTreeMap;

use prost::Message;
use prost::bytes::Bytes;

use crate::comparison::Ranked;
use crate::comparisons::Comparisons;

/// Where the balancer finds a replica's room, and local replies find when a client may return.
pub const METADATA: &str = "arks";
const ROOM: &str = "room";
/// In it: the seconds after which a rejected client may return.
pub const RETRY_AFTER: &str = "retry_after";
/// A group keeps its whole share while one in a thousand of its replicas can take requests.
const KEEP_SHARE_PERCENT: u32 = 100_000;
/// `envoy.config.core.v3.HealthStatus.DRAINING`.
const DRAINING: i32 = 3;

#[derive(Clone, PartialEq, Message)]
struct SocketAddress {
    #[prost(string, tag = "2")]
    address: String,
    #[prost(uint32, tag = "3")]
    port_value: u32,
}

#[derive(Clone, PartialEq, Message)]
struct AnyAddress {
    #[prost(message, optional, tag = "1")]
    socket_address: Option<SocketAddress>,
}

#[derive(Clone, PartialEq, Message)]
struct Endpoint {
    #[prost(message, optional, tag = "1")]
    address: Option<AnyAddress>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(double, optional, tag = "2")]
    number: Option<f64>,
    #[prost(string, optional, tag = "3")]
    string: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, Struct>,
}

#[derive(Clone, PartialEq, Message)]
struct LbEndpoint {
    /// An encoded `Endpoint`.
    #[prost(bytes = "bytes", tag = "1")]
    endpoint: Bytes,
    #[prost(int32, tag = "2")]
    health_status: i32,
    #[prost(message, optional, tag = "3")]
    metadata: Option<Metadata>,
    #[prost(message, optional, tag = "4")]
    load_balancing_weight: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Locality {
    #[prost(string, tag = "3")]
    sub_zone: String,
}

#[derive(Clone, PartialEq, Message)]
struct LocalityLbEndpoints {
    #[prost(message, optional, tag = "1")]
    locality: Option<Locality>,
    #[prost(message, repeated, tag = "2")]
    lb_endpoints: Vec<LbEndpoint>,
    #[prost(message, optional, tag = "3")]
    load_balancing_weight: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Policy {
    #[prost(message, optional, tag = "3")]
    overprovisioning_factor: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct ClusterLoadAssignment {
    #[prost(string, tag = "1")]
    cluster_name: String,
    #[prost(message, repeated, tag = "2")]
    endpoints: Vec<LocalityLbEndpoints>,
    #[prost(message, optional, tag = "4")]
    policy: Option<Policy>,
}

/// Where a replica listens, as Envoy reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Address(Bytes);

impl Address {
    /// `host`: an IP address, because Envoy resolves no names in load assignments.
    #[must_use]
    pub fn new(host: String, port: u32) -> Self {
        let socket_address = Some(SocketAddress { address: host, port_value: port });
        Self(Endpoint { address: Some(AnyAddress { socket_address }) }.encode_to_vec().into())
    }
}

/// One replica in a load assignment.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend<'a> {
    /// Of the replica.
    pub address: &'a Address,
    /// The same in a whole group: only then Envoy picks by requests in flight.
    pub weight: u32,
    /// Gets no new request; streams in flight go on.
    pub draining: bool,
    /// Name of its locality.
    pub group: &'a str,
    /// With affinity: as many requests in flight never make it busy. 0: unknown, or no affinity.
    pub room: u32,
    /// For a client whose request is too many for the endpoint; 0: there is no such limit.
    pub retry_after_seconds: u32,
}

impl Backend<'_> {
    fn encoded(&self) -> LbEndpoint {
        LbEndpoint {
            endpoint: self.address.0.clone(),
            health_status: if self.draining { DRAINING } else { 0 },
            metadata: self.metadata(),
            load_balancing_weight: Some(self.weight),
        }
    }

    fn metadata(&self) -> Option<Metadata> {
        let mut fields = BTreeMap::new();
        if self.room > 0 {
            fields.insert(ROOM.to_owned(), Value { number: Some(f64::from(self.room)), string: None });
        }
        if self.retry_after_seconds > 0 {
            let string = Some(self.retry_after_seconds.to_string());
            fields.insert(RETRY_AFTER.to_owned(), Value { number: None, string });
        }
        let found = || Metadata { filter_metadata: BTreeMap::from([(METADATA.to_owned(), Struct { fields })]) };
        (self.room > 0 || self.retry_after_seconds > 0).then(found)
    }
}

/// Return the replicas of a cluster, encoded. Without backends, requests get 503 at once.
///
/// Groups are localities, because weights of single replicas do not keep shares under load: least request divides each
/// by the requests in flight at the replica, so that 90 : 10 becomes about 75 : 25. `weights`: of the groups; a group
/// without one gets the sum of its replicas'.
#[must_use]
pub fn load_assignment<'a>(
    cluster: &str,
    backends: impl IntoIterator<Item = Backend<'a>>,
    weights: impl Fn(&str) -> Option<u32>,
) -> Vec<u8> {
    let mut groups: Vec<(&str, u32, Vec<LbEndpoint>)> = Vec::new();
    for backend in backends {
        let index = groups.iter().position(|(name, _, _)| *name == backend.group).unwrap_or_else(|| {
            groups.push((backend.group, 0, Vec::new()));
            groups.len() - 1
        });
        let (_, weight, members) = &mut groups[index];
        *weight += if backend.draining { 0 } else { backend.weight };
        members.push(backend.encoded());
    }
    let locality = |(name, own, lb_endpoints): (&str, u32, Vec<LbEndpoint>)| LocalityLbEndpoints {
        locality: Some(Locality { sub_zone: name.to_owned() }),
        lb_endpoints,
        load_balancing_weight: Some(weights(name).unwrap_or(own).max(1)),
    };
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: groups.into_iter().map(locality).collect(),
        policy: Some(Policy { overprovisioning_factor: Some(KEEP_SHARE_PERCENT) }),
    }
    .encode_to_vec()
}

/// One replica of an application of the endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    /// Where it listens.
    pub address: Address,
    /// Whether it has streams to finish, and its address is no other one's.
    pub draining: bool,
}

/// The replicas of one application.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its name.
    pub application: String,
    /// In the order of the application's comparison.
    pub replicas: Vec<Replica>,
}

/// Return the load assignment of an endpoint, encoded. `sites`: in the order of the comparisons.
///
/// It holds the replicas that get traffic, then those that drain: Envoy would cut the streams of an absent one.
#[must_use]
pub fn endpoint_assignment(cluster: &str, sites: &[Site], compared: &Comparisons, affinity: bool) -> Vec<u8> {
    let retry_after_seconds = compared.limits.requests.map_or(0, |_| compared.limits.retry_after_seconds);
    let mut found: Vec<_> = sites.iter().zip(compared.iter()).collect();
    found.sort_by(|(a, _), (b, _)| a.application.cmp(&b.application));
    let (mut routed, mut draining) = (Vec::new(), Vec::new());
    for (site, comparison) in &found {
        for (replica, (member, standing)) in site.replicas.iter().zip(comparison.with_standings()) {
            let group = standing.group.map(|number| &comparison.groups[number]);
            let backend = Backend {
                address: &replica.address,
                weight: group.map_or(1, Ranked::member_weight),
                draining: group.is_none(),
                group: group.map_or(&site.application, |group| &group.name),
                room: if affinity { standing.room(member) } else { 0 },
                retry_after_seconds,
            };
            if group.is_some() {
                routed.push(backend);
            } else if replica.draining {
                draining.push(backend);
            }
        }
    }
    let groups = || found.iter().flat_map(|(_, comparison)| &comparison.groups);
    let weight = |name: &str| groups().find(|group| group.name == name).map(|group| saturated(group.weight));
    load_assignment(cluster, routed.into_iter().chain(draining), weight)
}

/// Return a weight as Envoy takes it.
pub(crate) fn saturated(weight: u64) -> u32 {
    u32::try_from(weight).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{Address, Backend, ClusterLoadAssignment, load_assignment};

    fn groups(backends: Vec<Backend<'_>>, weights: impl Fn(&str) -> Option<u32>) -> Vec<(String, u32, usize)> {
        let encoded = load_assignment("team/chat", backends, weights);
        let decoded = ClusterLoadAssignment::decode(&*encoded).expect("it was encoded");
        let group = |locality: super::LocalityLbEndpoints| {
            let weight = locality.load_balancing_weight.unwrap_or(0);
            (locality.locality.unwrap_or_default().sub_zone, weight, locality.lb_endpoints.len())
        };
        decoded.endpoints.into_iter().map(group).collect()
    }

    #[test]
    fn a_group_without_a_weight_has_that_of_its_replicas_without_those_that_drain() {
        let address = Address::new("10.0.0.1".to_owned(), 8080);
        let backend = |group, weight, draining| {
            let (room, retry_after_seconds) = (0, 0);
            Backend { address: &address, weight, draining, group, room, retry_after_seconds }
        };
        let backends = || {
            vec![
                backend("b", 3, false),
                backend("a", 5, false),
                backend("b", 4, false),
                backend("b", 9, true),
                backend("c", 1, true),
            ]
        };
        let named = |name: &str, weight, count| (name.to_owned(), weight, count);
        assert_eq!(groups(backends(), |_| None), [named("b", 7, 3), named("a", 5, 1), named("c", 1, 1)]);
        let given = |name: &str| (name == "a").then_some(0);
        assert_eq!(groups(backends(), given), [named("b", 7, 3), named("a", 1, 1), named("c", 1, 1)]);
        assert_eq!(groups(vec![], |_| None), []);
    }
}
