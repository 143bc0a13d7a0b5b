package address

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrRange is wrapped by errors of Range if the text is neither an address nor a range.
var ErrRange = errors.New("neither an IP address nor a range such as 192.0.2.0/24")

// mapped is the length of the prefix of IPv6 addresses that contain an IPv4 address, in
// bits.
const mapped = 96

// Range parses an IP address, which is a range of one, or a range in CIDR notation. An
// IPv4 address that is written as an IPv6 one, such as ::ffff:192.0.2.1, is the IPv4
// address; a zone is left out.
func Range(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && !strings.Contains(s, "/") { // which a zone may contain
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is %w", s, ErrRange)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < mapped {
			return netip.Prefix{}, fmt.Errorf("the range %q has IPv4 addresses and others: write it as two ranges", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p.Masked(), nil
}
