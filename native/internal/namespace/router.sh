# Puts the network of the process $MACHINE behind a router to the internet, in the network of the process $ROUTER. The router lets in
# replies only. $N is a unique number, at least 2. $PORTS is "kept" if the internet sees the ports of the machine, or "random" if every
# peer sees a different one.
set -e
ip link add "out$N" type veth peer name out netns "$ROUTER"
ip link set "out$N" master internet up
nsenter -t "$ROUTER" -n sh -ec "
  ip link set lo up
  ip addr add 5.0.0.$N/24 dev out
  ip link set out up
  ip link add lan type veth peer name lan netns $MACHINE
  ip addr add 192.168.$N.1/24 dev lan
  ip link set lan up
  echo 1 >/proc/sys/net/ipv4/ip_forward
  iptables -A INPUT -i out -m conntrack ! --ctstate ESTABLISHED,RELATED -j DROP
  iptables -A FORWARD -i out -m conntrack ! --ctstate ESTABLISHED,RELATED -j DROP
  iptables -t nat -A POSTROUTING -o out -j MASQUERADE $(test "$PORTS" = kept || echo --random-fully)"
# A browser cancels its requests when an address appears, as the machine's IPv6 address would some seconds later.
nsenter -t "$MACHINE" -n sh -ec "
  test ! -e /proc/sys/net/ipv6 || echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
  ip link set lo up
  ip addr add 192.168.$N.2/24 dev lan
  ip link set lan up
  ip route add default via 192.168.$N.1"
