package pack

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Endpoints say what the texts of a driver's settings name, by the scheme of a URL in lower
// case, or HostPort. A driver with nil is one of a manifest that does not say it: see
// Manifest.Endpoint.
type Endpoints map[string]Scheme

// HostPort in the place of a scheme stands for texts of the form HOST:PORT.
const HostPort = "host:port"

// A Scheme is what a URL of one scheme names.
type Scheme struct {
	Over Over   `json:"over"`
	Port uint16 `json:"port,omitempty"` // of a URL without one; 0: it must have one
	TLS  bool   `json:"tls,omitempty"`  // the driver checks certificates by those of the machine
}

// Over is the way on which a driver reaches an endpoint, as a manifest writes it.
type Over string

// The ways. OverNothing is that of a URL that is only a name, as an XML namespace is.
const (
	OverTCP     Over = "tcp"
	OverUDP     Over = "udp"
	OverSerial  Over = "serial" // the path of the URL is that of a serial port
	OverFile    Over = "file"   // the path of the URL is that of a file to read
	OverUnix    Over = "unix"   // the path of the URL is that of a Unix socket
	OverNothing Over = "nothing"
)

var ways = []Over{OverTCP, OverUDP, OverSerial, OverFile, OverUnix, OverNothing}

// hasPort reports whether endpoints have a host and a port.
func (o Over) hasPort() bool { return o == OverTCP || o == OverUDP }

// An Endpoint is what one text of a link's settings names. The zero value is nothing.
type Endpoint struct {
	Over Over
	Host string // for TCP and UDP
	Port uint16 // for TCP and UDP; 0: which one only the driver knows
	TLS  bool
	Path string // for the others: absolute and clean
}

// Unsaid reports whether neither the text nor the manifest says at which port it is.
func (e Endpoint) Unsaid() bool { return e.Over.hasPort() && e.Port == 0 }

var (
	schemeForm = regexp.MustCompile(`^[a-z][a-z0-9+.-]{0,31}$`)
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?$`)
)

// Endpoint returns what a text of a link's settings names: the path of a file or a serial
// port where it is an absolute path, else what Endpoints say of it. An error says why a text
// that is meant to name something cannot: its scheme is none of the driver's, or it has no
// port; it does not repeat the text, which may hold a password.
//
// Of a manifest without endpoints every URL with a host counts as TCP, and one without a port
// as a port that only the driver knows.
func (m *Manifest) Endpoint(text string) (Endpoint, error) {
	if filepath.IsAbs(text) {
		return Endpoint{Over: OverFile, Path: filepath.Clean(text)}, nil
	}
	name, rest, isURL := strings.Cut(text, "://")
	name = strings.ToLower(name)
	switch {
	case !isURL:
		return m.hostPort(text)
	case !schemeForm.MatchString(name) || rest == "":
		return Endpoint{}, nil
	case m.Endpoints == nil:
		return unsaid(text), nil
	}
	s, known := m.Endpoints[name]
	if !known {
		return Endpoint{}, fmt.Errorf("driver %s knows no %s://: %s", m.Name, name, m.Endpoints.advice())
	}
	return s.endpoint(name, text)
}

// unsaid is what a URL names of which the manifest says nothing.
func unsaid(text string) Endpoint {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return Endpoint{}
	}
	e := Endpoint{Over: OverTCP, Host: u.Hostname(), TLS: true}
	if u.Port() == "" {
		return e
	}
	if e.Port, err = parsePort(u.Port()); err != nil {
		return Endpoint{}
	}
	return e
}

// hostPort returns what a text without a scheme names.
func (m *Manifest) hostPort(text string) (Endpoint, error) {
	s, known := m.Endpoints[HostPort]
	if !known || s.Over == OverNothing {
		return Endpoint{}, nil
	}
	host, digits, err := net.SplitHostPort(text)
	if err != nil || !isHost(host) || strings.Trim(digits, "0123456789") != "" || digits == "" {
		return Endpoint{}, nil
	}
	port, err := parsePort(digits)
	if err != nil {
		return Endpoint{}, err
	}
	return Endpoint{Over: s.Over, Host: host, Port: port, TLS: s.TLS}, nil
}

func isHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || nameForm.MatchString(host)
}

// endpoint returns what a URL of the scheme names.
func (s Scheme) endpoint(name, text string) (Endpoint, error) {
	e := Endpoint{Over: s.Over, TLS: s.TLS}
	if s.Over == OverNothing {
		return Endpoint{}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return Endpoint{}, fmt.Errorf("it is no URL: write %s", s.form(name))
	}
	if !s.Over.hasPort() {
		e.Path = filepath.Clean(u.Path)
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return Endpoint{}, fmt.Errorf("it names no absolute path: write %s", s.form(name))
		}
		return e, nil
	}
	if e.Host = u.Hostname(); e.Host == "" {
		return Endpoint{}, fmt.Errorf("it names no host: write %s", s.form(name))
	}
	if e.Port = s.Port; u.Port() != "" {
		e.Port, err = parsePort(u.Port())
	}
	switch {
	case err != nil:
		return Endpoint{}, err
	case e.Port == 0:
		return Endpoint{}, fmt.Errorf("it has no port, and %s:// has none by default: write %s", name, s.form(name))
	}
	return e, nil
}

// form is how a URL of the scheme is written.
func (s Scheme) form(name string) string {
	if s.Over.hasPort() {
		return name + "://HOST:PORT"
	}
	return name + ":///PATH"
}

func parsePort(digits string) (uint16, error) {
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s is no port: write a number from 1 to 65535", quote(digits))
	}
	return uint16(n), nil
}

// advice says what can be written instead of a scheme that is none of these.
func (s Endpoints) advice() string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		switch {
		case s[name].Over == OverNothing:
		case name == HostPort:
			names = append(names, "HOST:PORT")
		default:
			names = append(names, name+"://")
		}
	}
	if len(names) == 0 {
		return "its package names none: write no URL here"
	}
	return "write one of " + strings.Join(names, ", ") + ", as its package says, or install a version of it that knows more"
}

// Allows returns why a driver that asks for w may not reach an endpoint.
func (w *Wants) Allows(e Endpoint) error {
	switch {
	case e.Over == OverTCP && !w.TCP.has(e.Port):
		return w.TCP.refuses("TCP", "tcp", e.Port)
	case e.Over == OverUDP && !w.UDP.has(e.Port):
		return w.UDP.refuses("UDP", "udp", e.Port)
	case e.Over == OverSerial && !w.Serial:
		return errors.New("its driver may not open serial ports: its package does not ask for them (`wants.serial`)")
	case e.Over == OverUnix && !w.Unix:
		return errors.New("its driver may not connect to Unix sockets: its package does not ask for them (`wants.unix`)")
	}
	return nil
}

// Ports are what a driver may connect or send to: every port, those that the links'
// settings name, or a list. The zero value is none.
type Ports struct {
	Any       bool
	FromLinks bool
	List      []uint16
}

// fromLinks is Ports.FromLinks as the manifest writes it.
const fromLinks = "from-links"

// MarshalJSON writes true, "from-links" or the list.
func (p Ports) MarshalJSON() ([]byte, error) {
	switch {
	case p.Any:
		return []byte("true"), nil
	case p.FromLinks:
		return json.Marshal(fromLinks)
	case p.List == nil:
		return []byte("[]"), nil
	}
	return json.Marshal(p.List)
}

// IsZero reports whether it is no port at all.
func (p Ports) IsZero() bool { return !p.Any && !p.FromLinks && p.List == nil }

// has reports whether a port is among them that a link names.
func (p Ports) has(port uint16) bool {
	return p.Any || p.FromLinks || port != 0 && slices.Contains(p.List, port)
}

// refuses says why a port is not among them.
func (p Ports) refuses(what, key string, port uint16) error {
	switch {
	case len(p.List) == 0:
		return fmt.Errorf("its driver may not use %s: its package does not ask for it (`wants.%s`)", what, key)
	case port == 0:
		return fmt.Errorf("it has no port: write one of the %s ports that the driver's package asks for, %s", what, list(p.List))
	}
	return fmt.Errorf("its driver may not use %s port %d: its package asks for %s alone (`wants.%s`)", what, port, list(p.List), key)
}

// list puts ports into a message.
func list(ports []uint16) string {
	const most = 10
	var texts []string
	for i, p := range ports {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(ports)-most))
			break
		}
		texts = append(texts, strconv.Itoa(int(p)))
	}
	return strings.Join(texts, ", ")
}
