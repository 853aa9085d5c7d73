package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// linkSettings are the keys of a link.
type linkSettings struct {
	Broker           string       `json:"broker"`
	ClientID         string       `json:"client_id"`
	Username         string       `json:"username"`
	Password         string       `json:"password"`
	QoS              int          `json:"qos"`
	CleanSession     bool         `json:"clean_session"`
	KeepAlive        duration     `json:"keep_alive"`
	TLS              *tlsSettings `json:"tls"`
	MaxPayload       int          `json:"max_payload"`
	MaxInflight      int          `json:"max_inflight"`
	MaxInflightBytes int          `json:"max_inflight_bytes"`
}

type tlsSettings struct {
	CA         string `json:"ca"`
	Cert       string `json:"cert"`
	Key        string `json:"key"`
	ServerName string `json:"server_name"`
}

// deviceSettings are the keys of a device.
type deviceSettings struct {
	QoS        *int   `json:"qos"`
	Retain     bool   `json:"retain"`
	Time       string `json:"time"`
	TimeFormat string `json:"time_format"`
}

// duration is a time.Duration that is written as 30s or 5m.
type duration time.Duration

func (d *duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a time such as \"30s\" expected, not %s", b)
	}
	v, err := time.ParseDuration(s)
	if v == 0 && err == nil && strings.ContainsAny(s, "123456789") {
		return fmt.Errorf("%q would be 0: the shortest time is 1ns", s)
	}
	*d = duration(v)
	return err
}

const (
	maxKeepAlive = 65535 * time.Second // clause 3.1.2.10
	maxPacketID  = 65535               // clause 2.3.1
	maxRemaining = 268435455           // bytes of a packet after its fixed header (clause 2.2.3)
)

func parseLink(cfg driver.LinkConfig) (*linkSettings, error) {
	s := &linkSettings{
		QoS: 1, KeepAlive: duration(30 * time.Second),
		MaxPayload: 256 << 10, MaxInflight: maxPacketID, MaxInflightBytes: 64 << 20,
	}
	if err := driver.DecodeSettings(cfg.Settings, s); err != nil {
		return nil, &driver.ConfigError{Text: err.Error()}
	}
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, &driver.ConfigError{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	u, err := parseBroker(s.Broker)
	if err != nil {
		wrong("broker", "%v", err)
	}
	if s.ClientID == "" {
		s.ClientID = defaultClientID(cfg.Name)
	}
	if s.Password != "" && s.Username == "" {
		wrong("username", "a password needs a username (MQTT 3.1.1, 3.1.2.9)")
	}
	within := func(key string, v, low, high int) {
		if v < low || v > high {
			wrong(key, "%d is not within %d and %d", v, low, high)
		}
	}
	within("qos", s.QoS, 0, 2)
	within("max_payload", s.MaxPayload, 1, maxRemaining-maxTopic-4)
	within("max_inflight", s.MaxInflight, 1, maxPacketID)
	within("max_inflight_bytes", s.MaxInflightBytes, s.MaxPayload+1, 1<<31-1)
	if k := time.Duration(s.KeepAlive); k < time.Second || k > maxKeepAlive || k%time.Second != 0 {
		wrong("keep_alive", "%v is no number of whole seconds from 1s to %v", k, maxKeepAlive)
	}
	if s.TLS != nil {
		if u != nil && !encrypted(u) {
			wrong("tls", "the broker's URL says %s: write ssl:// for TLS", u.Scheme)
		}
		s.TLS.check(wrong)
	}
	return s, errors.Join(errs...)
}

func (t *tlsSettings) check(wrong func(key, format string, args ...any)) {
	for _, f := range []struct{ key, file string }{{"ca", t.CA}, {"cert", t.Cert}, {"key", t.Key}} {
		secret := strings.HasPrefix(f.file, driver.SecretPrefix)
		switch {
		case secret && f.key != "key":
			wrong("tls", "%s: a certificate is no secret: give the path of its file", f.key)
		case f.file != "" && !secret && !filepath.IsAbs(f.file):
			wrong("tls", "%s: %q is no absolute path", f.key, f.file)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		wrong("tls", "cert and key go together: give both or none")
	}
}

func parseBroker(s string) (*url.URL, error) {
	if s == "" {
		return nil, errors.New("the broker is missing: give its URL, for example tcp://192.0.2.1:1883")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// The text is not repeated: it may hold a password.
		return nil, errors.New("the broker is no URL: write tcp://HOST:PORT or ssl://HOST:PORT")
	case !slices.Contains([]string{"tcp", "mqtt", "ssl", "tls", "mqtts"}, u.Scheme):
		return nil, fmt.Errorf("scheme %q is not supported: write tcp://HOST:PORT or ssl://HOST:PORT", u.Scheme)
	case u.User != nil:
		return nil, errors.New("the URL must not hold a user: give username and password as keys")
	case u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q is not of the form SCHEME://HOST:PORT", s)
	case u.Port() == "" && encrypted(u):
		u.Host = net.JoinHostPort(u.Hostname(), "8883")
	case u.Port() == "":
		u.Host = net.JoinHostPort(u.Hostname(), "1883")
	}
	if err := driver.CheckEndpoint(u.Hostname(), u.Port()); err != nil {
		return nil, err
	}
	return u, nil
}

func encrypted(u *url.URL) bool { return u.Scheme != "tcp" && u.Scheme != "mqtt" }

// defaultClientID is the same at every start on a machine, because the broker keeps
// the session under it.
func defaultClientID(link string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return "fieldloom-" + host + "-" + link
}

// tlsConfig reads the files that the settings name, but for a key that is a secret.
func (s *linkSettings) tlsConfig(u *url.URL, who *login) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	t := s.TLS
	if t == nil {
		return cfg, nil
	}
	if t.ServerName != "" {
		cfg.ServerName = t.ServerName
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, driver.Errorf(driver.InvalidConfig, "tls.ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, driver.Errorf(driver.InvalidConfig, "tls.ca: %s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := t.pair(who)
		if err != nil {
			return nil, driver.Errorf(driver.InvalidConfig, "tls.cert: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
