# Makes the network that it runs in an internet in which it has the address 5.0.0.1. Fails if machines cannot be behind routers here.
set -e
ip link set lo up
ip link add internet type bridge
ip addr add 5.0.0.1/24 dev internet
ip link set internet up
iptables -t nat -A POSTROUTING -o none -m conntrack --ctstate ESTABLISHED -j MASQUERADE --random-fully
