#!/usr/bin/env bash
# netlab.sh - a small routed network in namespaces for PMTU / path / loss tests.
#
#   h1 --L1-- r1 --L2-- r2 --L3-- r3 --L4-- h2          (always)
#              \--L5-- r2b --L6--/                       (only with ecmp=1)
#
# Link i: 10.77.i.1 (left) .2 (right), fd77:i::1 / ::2.   h1=10.77.1.1 fd77:1::1
# h2=10.77.4.2 fd77:4::2.  Needs root, iproute2, nftables (ethtool if there).
#
#   netlab.sh [-p PREFIX] up   [key=value ...]   make it (again: remakes nothing, applies the keys)
#   netlab.sh [-p PREFIX] set  key=value ...     change it while things run
#   netlab.sh [-p PREFIX] exec NODE CMD...       run as root in NODE (h1 r1 r2 r2b r3 h2)
#   netlab.sh [-p PREFIX] user NODE CMD...       run as uid 65534, no groups, no capabilities
#   netlab.sh [-p PREFIX] status                 keys now in force, the true PMTU each way, the hops around
#                                                the narrowest link forward and all links (IPv4), and how many packets
#                                                loss= has cost each way
#   netlab.sh [-p PREFIX] flush                  forget cached PMTUs on h1 and h2
#   netlab.sh [-p PREFIX] down                   remove it all (fine when it is not there)
#
# keys (default):
#   mtu=1500/1500/1500/1500  forward (h1->h2) MTU of L1/L2/L3/L4; L5,L6 copy L2,L3; 1280..9216,
#               L2 and L3 down to 68 for IPv4 alone (IPv6 then stays at 1280)
#   rmtu=<same as mtu>       reverse (h2->h1) MTU of L1/L2/L3/L4 (L1 and L4 must equal mtu's)
#   icmp=ok     ptb: routers send/pass no frag-needed/packet-too-big (a PMTU black hole)
#               ptb-fwd: only those going to h1; ptb-rev: only those going to h2
#               te: no time-exceeded;  echo: no echo requests;  all: no ICMP but v6 ND
#   l2hole=0    N: r2 silently drops IP packets longer than N arriving on L2 (a switch with a low MTU)
#   udp=ok      drop | reject  UDP through r2
#   mss=0       N: r2 clamps the MSS option of SYNs to N (v4) and N-20 (v6)
#   loss=0      per-mille of packets r2 drops at random, each way
#   ecmp=0      1: second way r1-r2b-r3, 5-tuple hashed
#   ratelimit=1 0: routers do not rate-limit the ICMP they send
#   announced=0 1: h1 sends from an address on its loopback, 10.99.1.1 and fd99:1::1, that routers know the way to
#   link=veth   tun: L3 is two TUN devices, and passes what a process that joins them passes (the tests
#               have one that holds packets for a while)
#   ping=0      1: unprivileged ping sockets allowed (net.ipv4.ping_group_range) on h1,h2
set -euo pipefail
P=nl
usage() { sed -n '2,/^set -e/{/^set -e/d;p}' "$0"; exit 2; }
while getopts p:h o; do case $o in p) P=$OPTARG;; *) usage;; esac; done
shift $((OPTIND-1))
[[ $P =~ ^[a-z][a-z0-9]{0,9}$ ]] || { echo "bad prefix: $P" >&2; exit 2; }
VERB=${1:-}; [ $# -gt 0 ] && shift
STATE=/run/netlab.$P
NODES="h1 r1 r2 r2b r3 h2"; ROUTERS="r1 r2 r2b r3"
ns() { echo "$P-$1"; }
X() { local n=$1; shift; ip netns exec "$(ns "$n")" "$@"; }
I() { local n=$1; shift; ip -n "$(ns "$n")" "$@"; }
have() { [ -e "/run/netns/$(ns "$1")" ]; }
die() { echo "netlab: $*" >&2; exit 1; }

defaults() { mtu=1500/1500/1500/1500 rmtu= icmp=ok l2hole=0 udp=ok mss=0 loss=0 ecmp=0 ratelimit=1 announced=0 link=veth ping=0; }
keys() {
  local kv
  for kv in "$@"; do
    case $kv in
      mtu=*|rmtu=*) [[ ${kv#*=} =~ ^([0-9]+(/[0-9]+){3})?$ ]] || die "want N/N/N/N: $kv";;
      icmp=ok|icmp=ptb|icmp=ptb-fwd|icmp=ptb-rev|icmp=te|icmp=echo|icmp=all) ;;
      udp=ok|udp=drop|udp=reject|ecmp=[01]|ratelimit=[01]|announced=[01]|ping=[01]|link=veth|link=tun) ;;
      l2hole=*|mss=*|loss=*) [[ ${kv#*=} =~ ^[0-9]+$ ]] || die "want a number: $kv";;
      *) die "unknown key: $kv";;
    esac
    printf -v "${kv%%=*}" %s "${kv#*=}"
  done
}
save() { local k; for k in mtu rmtu icmp l2hole udp mss loss ecmp ratelimit announced link ping; do echo "$k=${!k}"; done > "$STATE"; }
load() { defaults; [ -r "$STATE" ] && keys $(cat "$STATE"); return 0; }

veth() { # nodeA nodeB link   -> interfaces L<link> in both, offloads off so that skb == wire packet
  have "$1" && have "$2" || return 0
  I "$1" link show "L$3" >/dev/null 2>&1 && return 0
  I "$1" link add "L$3" mtu 9216 type veth peer name "L$3" mtu 9216 netns "$(ns "$2")"
  local n
  for n in "$1" "$2"; do
    if command -v ethtool >/dev/null; then X "$n" ethtool -K "L$3" tso off gso off gro off >/dev/null 2>&1 || :
    else I "$n" link set "L$3" gso_max_segs 1; fi
  done
  address "$@"
}

address() { # nodeA nodeB link
  I "$1" addr add "10.77.$3.1/24" dev "L$3"; I "$1" addr add "fd77:$3::1/64" dev "L$3" nodad
  I "$2" addr add "10.77.$3.2/24" dev "L$3"; I "$2" addr add "fd77:$3::2/64" dev "L$3" nodad
  I "$1" link set "L$3" up; I "$2" link set "L$3" up
}

link3() { # makes L3 what link= says
  local is=veth n
  I r2 -d link show L3 | grep ' tun ' >/dev/null && is=tun
  [ "$is" = "$link" ] && return 0
  for n in r2 r3; do I "$n" link del L3 2>/dev/null || :; done
  [ "$link" = veth ] && { veth r2 r3 3; return; }
  for n in r2 r3; do I "$n" tuntap add dev L3 mode tun; done
  address r2 r3 3
}

build() {
  local n
  for n in $NODES; do
    have "$n" || ip netns add "$(ns "$n")"
    I "$n" link set lo up
    X "$n" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
      net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
  done
  # ECMP by a hash of the addresses and ports alone (policy 3, fields 55): with
  # policy 1 a router takes over the hash of the sender's socket, which is new
  # with each socket, and one flow goes both ways.
  for n in $ROUTERS; do
    X "$n" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
      net.ipv4.fib_multipath_hash_fields=55 net.ipv4.fib_multipath_hash_policy=3 \
      net.ipv6.fib_multipath_hash_fields=55 net.ipv6.fib_multipath_hash_policy=3 \
      net.ipv4.icmp_errors_use_inbound_ifaddr=1 # a hop's address is that of the link by which it was reached
  done
  veth h1 r1 1; veth r1 r2 2; veth r2 r3 3; veth r3 h2 4; veth r1 r2b 5; veth r2b r3 6
}

# R node v4net v6net mtu hop... : a route with a locked MTU (what a one-way MTU is made of)
R() {
  local n=$1 v4=$2 v6=$3 m=$4; shift 4
  local h4=() h6=() x
  if [ $# -eq 1 ]; then h4=(via "10.77.$1"); h6=(via "fd77:${1/./::}")
  else for x in "$@"; do h4+=(nexthop via "10.77.$x"); h6+=(nexthop via "fd77:${x/./::}"); done; fi
  I "$n" route replace "$v4" mtu lock "$m" "${h4[@]}"
  [ "$m" -lt 1280 ] && m=1280            # IPv6 has no smaller links
  I "$n" -6 route del "$v6" 2>/dev/null || :
  I "$n" -6 route replace "$v6" mtu lock "$m" "${h6[@]}"
}

apply() {
  local F B f b i n d
  IFS=/ read -ra F <<<"$mtu"; IFS=/ read -ra B <<<"${rmtu:-$mtu}"
  [ "${F[0]}" = "${B[0]}" ] && [ "${F[3]}" = "${B[3]}" ] || die "L1 and L4 cannot be asymmetric"
  [ "${F[0]}" -ge 1280 ] && [ "${F[3]}" -ge 1280 ] || die "L1 and L4 must be at least 1280"
  setdev() { I "$1" link set "L$3" mtu "$4"; I "$2" link set "L$3" mtu "$4"; }
  max() { local m=$(( $1 > $2 ? $1 : $2 )); echo $(( m > 1280 ? m : 1280 )); }
  link3
  setdev h1 r1 1 "${F[0]}"; setdev r3 h2 4 "${F[3]}"
  for i in "r1 r2 2" "r1 r2b 5"; do setdev $i "$(max "${F[1]}" "${B[1]}")"; done
  for i in "r2 r3 3" "r2b r3 6"; do setdev $i "$(max "${F[2]}" "${B[2]}")"; done
  local up=(2.2) dn=(3.1)
  [ "$ecmp" = 1 ] && up=(2.2 5.2) dn=(3.1 6.1)
  local src4=() src6=()
  [ "$announced" = 1 ] && src4=(src 10.99.1.1) src6=(src fd99:1::1)
  I h1 addr replace 10.99.1.1/32 dev lo; I h1 addr replace fd99:1::1/128 dev lo
  I h1 -6 route del default 2>/dev/null || :
  I h1 route replace default via 10.77.1.2 "${src4[@]}"; I h1 -6 route replace default via fd77:1::2 "${src6[@]}"
  I h2 route replace default via 10.77.4.1; I h2 -6 route replace default via fd77:4::1
  # towards h2
  for d in 3 4 6; do
    R r1 10.77.$d.0/24 fd77:$d::/64 "${F[1]}" "${up[@]}"
  done
  for n in "r2 3.2" "r2b 6.2"; do set -- $n; R "$1" 10.77.4.0/24 fd77:4::/64 "${F[2]}" "$2"; done
  R r2 10.77.6.0/24 fd77:6::/64 "${F[2]}" 3.2; R r2b 10.77.3.0/24 fd77:3::/64 "${F[2]}" 6.2
  # towards h1
  I r1 route replace 10.99.1.0/24 via 10.77.1.1; I r1 -6 route replace fd99:1::/64 via fd77:1::1
  R r3 10.99.1.0/24 fd99:1::/64 "${B[2]}" "${dn[@]}"
  R r2 10.99.1.0/24 fd99:1::/64 "${B[1]}" 2.1; R r2b 10.99.1.0/24 fd99:1::/64 "${B[1]}" 5.1
  for d in 1 2 5; do
    R r3 10.77.$d.0/24 fd77:$d::/64 "${B[2]}" "${dn[@]}"
  done
  for n in "r2 2.1" "r2b 5.1"; do set -- $n; R "$1" 10.77.1.0/24 fd77:1::/64 "${B[1]}" "$2"; done
  R r2 10.77.5.0/24 fd77:5::/64 "${B[1]}" 2.1; R r2b 10.77.2.0/24 fd77:2::/64 "${B[1]}" 5.1

  for n in $ROUTERS; do
    if [ "$ratelimit" = 1 ]; then X "$n" sysctl -qw net.ipv4.icmp_ratelimit=1000 net.ipv6.icmp.ratelimit=1000
    else X "$n" sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0; fi
  done
  for n in h1 h2; do
    if [ "$ping" = 1 ]; then X "$n" sysctl -qw net.ipv4.ping_group_range="0 2147483647"
    else X "$n" sysctl -qw net.ipv4.ping_group_range="1 0"; fi
  done
  for n in $ROUTERS; do X "$n" nft -f - <<<"$(rules "$n")"; done
}

rules() { # node
  local ptb4='icmp type destination-unreachable icmp code frag-needed' ptb6='icmpv6 type packet-too-big'
  echo 'table inet netlab {}'; echo 'delete table inet netlab'
  echo 'table inet netlab {'
  echo ' chain nldrop {'
  case $icmp in
    ptb)     echo "  $ptb4 counter drop"; echo "  $ptb6 counter drop";;
    ptb-fwd) echo "  ip daddr 10.77.1.1 $ptb4 counter drop"; echo "  ip6 daddr fd77:1::1 $ptb6 counter drop";;
    ptb-rev) echo "  ip daddr 10.77.4.2 $ptb4 counter drop"; echo "  ip6 daddr fd77:4::2 $ptb6 counter drop";;
    te)      echo "  icmp type time-exceeded counter drop"; echo "  icmpv6 type time-exceeded counter drop";;
    echo)    echo "  icmp type echo-request counter drop"; echo "  icmpv6 type echo-request counter drop";;
    all)     echo "  meta l4proto icmp counter drop"
             echo "  icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept"
             echo "  meta l4proto icmpv6 counter drop";;
  esac
  echo ' }'
  echo ' chain nlout { type filter hook output priority 0; jump nldrop; }'
  echo ' chain nlfwd { type filter hook forward priority 0; jump nldrop;'
  case $1 in r2|r2b)
    [ "$udp" = drop ] && echo '  meta l4proto udp counter drop'
    [ "$udp" = reject ] && echo '  meta l4proto udp counter reject with icmpx admin-prohibited'
    [ "$mss" != 0 ] && { echo "  meta nfproto ipv4 tcp flags & (syn|rst) == syn tcp option maxseg size > $mss tcp option maxseg size set $mss"
                         echo "  meta nfproto ipv6 tcp flags & (syn|rst) == syn tcp option maxseg size > $((mss-20)) tcp option maxseg size set $((mss-20))"; }
      [ "$loss" != 0 ] && { echo "  iifname { L2, L5 } numgen random mod 1000 < $loss counter drop comment \"lost forward\""
                          echo "  iifname { L3, L6 } numgen random mod 1000 < $loss counter drop comment \"lost reverse\""; };; esac
  echo ' }'
  echo ' chain nlpre { type filter hook prerouting priority -300;'
  case $1 in r2|r2b) [ "$l2hole" != 0 ] && echo "  iifname { L2, L5, L3, L6 } meta length > $l2hole counter drop";; esac
  echo ' }'; echo '}'
}

truth() { # MTU list -> its least
  local m l=99999 h; IFS=/ read -ra m <<<"$1"
  for h in "${m[@]}"; do [ "$h" -lt "$l" ] && l=$h; done
  [ "$l2hole" != 0 ] && [ "$l2hole" -lt "$l" ] && l=$l2hole
  echo "$l"
}

narrowest() { # MTU list -> the routers before and behind its first narrowest link (IPv4)
  local m i least; IFS=/ read -ra m <<<"$1"; least=$(truth "$1")
  [ "$l2hole" = "$least" ] && m[1]=$least
  for i in 1 2; do [ "${m[$i]}" -le "$least" ] && { echo "10.77.$i.2-10.77.$((i+1)).2"; return; }; done
}

lost() { # direction -> packets dropped by loss=
  local n; for n in r2 r2b; do X "$n" nft list chain inet netlab nlfwd; done |
    awk -v d="lost $1" 'index($0, d) { for (i = 1; i < NF; i++) if ($i == "packets") n += $(i+1) } END { print n+0 }'
}

case $VERB in
  up)   load; keys "$@"; build; apply; save;;
  set)  have h1 || die "not up"; load; keys "$@"; apply; save;;
  exec) n=$1; shift; have "$n" || die "not up"; exec ip netns exec "$(ns "$n")" "$@";;
  user) n=$1; shift; have "$n" || die "not up"
        exec ip netns exec "$(ns "$n")" setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs "$@";;
  flush) for n in h1 h2; do I "$n" route flush cache; I "$n" -6 route flush cache; done;;
  status) have h1 || { echo "netlab $P: down"; exit 1; }; load; cat "$STATE"
        echo "true_forward=$(truth "$mtu") true_reverse=$(truth "${rmtu:-$mtu}")" | tr ' ' '\n'
        echo "true_narrowest=$(narrowest "$mtu")"
        links="-10.77.1.2 10.77.1.2-10.77.2.2 10.77.2.2-10.77.3.2 10.77.3.2-10.77.4.2"
        [ "$ecmp" = 0 ] || links+=" 10.77.1.2-10.77.5.2 10.77.5.2-10.77.6.2 10.77.6.2-10.77.4.2"
        echo "true_links=$links"
        echo "lost_forward=$(lost forward)"; echo "lost_reverse=$(lost reverse)";;
  down) for n in $NODES; do have "$n" && ip netns del "$(ns "$n")"; done; rm -f "$STATE";;
  *) usage;;
esac
