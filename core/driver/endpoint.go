package driver

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// CheckEndpoint reports what is wrong with a host and a TCP or UDP port that a link is to
// connect to, without connecting: a port outside of 1 to 65535, an IP address with a
// number over 255, characters that no host name has (RFC 1123, section 2.1, and the
// underscore). A driver calls it when it checks a link's settings.
func CheckEndpoint(host, port string) error {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if strings.Contains(host, ":") {
		return fmt.Errorf("%q is no IPv6 address", host)
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return fmt.Errorf("%q is no IP address: write four numbers from 0 to 255, or a name", host)
	}
	for _, label := range labels {
		if !isLabel(label) {
			return fmt.Errorf("%q is no name of a host: %q has to be 1 to 63 letters, digits, - and _", host, label)
		}
	}
	return nil
}

func isLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c >= 0x80: // names in other scripts
		case c == '-' && i > 0 && i < len(s)-1:
		default:
			return false
		}
	}
	return s != "" && len(s) <= 63
}
