package carrier

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/driver"
)

// The schemes of an address.
const (
	schemeTCP     = "tcp"
	schemeTLS     = "tls"
	schemeUDP     = "udp"
	schemeSerial  = "serial"
	schemeRFC2217 = "rfc2217"
)

// Options are what a driver wants of an address.
type Options struct {
	Key     string            // of the link's settings in which the text is, for faults
	Schemes []string          // that it takes; nil: all
	Ports   map[string]string // the port of a scheme where the text has none; without: it must have one
}

// An Address is where a link's carrier is, with its settings. It is not changed.
type Address struct {
	Settings
	scheme string
	place  string // host:port, or the path of a port
	host   string
}

// Parse reads an address and checks the settings with it, without any I/O. What is wrong are
// driver.ConfigErrors with their keys, joined; the address is nil then.
func Parse(text string, s Settings, o Options) (*Address, error) {
	a := &Address{Settings: s}
	err := a.parse(text, o)
	if err != nil {
		err = &driver.ConfigError{Key: o.Key, Text: err.Error()}
	}
	if err = errors.Join(err, a.check(a.scheme)); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Address) parse(text string, o Options) error {
	if text == "" {
		return fmt.Errorf("it is missing: %s", o.takes())
	}
	if filepath.IsAbs(text) {
		text = schemeSerial + "://" + text
	}
	name, rest, ok := strings.Cut(text, "://")
	a.scheme = strings.ToLower(name)
	if !ok || !o.has(a.scheme) {
		return fmt.Errorf("%q is no address of this driver: %s", text, o.takes())
	}
	if a.scheme == schemeSerial {
		a.place = rest
		if !filepath.IsAbs(rest) || filepath.Clean(rest) != rest {
			return fmt.Errorf("%q is no absolute path of a serial port, such as /dev/ttyUSB0", rest)
		}
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not of the form %s://HOST:PORT", text, a.scheme)
	}
	port := u.Port()
	if port == "" {
		port = o.Ports[a.scheme]
	}
	if port == "" {
		return fmt.Errorf("%q has no port: write it as %s://HOST:PORT", text, a.scheme)
	}
	a.host, a.place = u.Hostname(), net.JoinHostPort(u.Hostname(), port)
	return driver.CheckEndpoint(a.host, port)
}

func (o Options) has(scheme string) bool {
	if o.Schemes == nil {
		return slices.Contains(allSchemes, scheme)
	}
	return slices.Contains(o.Schemes, scheme)
}

var allSchemes = []string{schemeTCP, schemeTLS, schemeUDP, schemeSerial, schemeRFC2217}

// takes says what may be written.
func (o Options) takes() string {
	schemes := o.Schemes
	if schemes == nil {
		schemes = allSchemes
	}
	var forms []string
	for _, s := range schemes {
		if s == schemeSerial {
			forms = append(forms, "/dev/PORT")
			continue
		}
		forms = append(forms, s+"://HOST:PORT")
	}
	return "use " + strings.Join(forms, ", ")
}

// String is the address as it is said to people.
func (a *Address) String() string {
	if a.scheme == schemeSerial {
		return a.place
	}
	return a.scheme + "://" + a.place
}

// Line reports whether there is a serial line at this address, whose rate and framing are known.
func (a *Address) Line() bool { return a.scheme == schemeSerial || a.scheme == schemeRFC2217 }

// Datagrams reports whether the carrier keeps messages apart, and may lose one.
func (a *Address) Datagrams() bool { return a.scheme == schemeUDP }

// Scheme is tcp, tls, udp, serial or rfc2217.
func (a *Address) Scheme() string { return a.scheme }

// BitsPerCharacter is how many bit times a character takes on a serial line: start, data,
// parity and stop bits.
func (s *Settings) BitsPerCharacter() int {
	n := 1 + s.DataBits + s.StopBits
	if s.Parity != parityOff {
		n++
	}
	return n
}
