package serial

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

// linkSettings are the keys of a link.
type linkSettings struct {
	carrier.Settings
	Port       string            `json:"port"`
	Terminator terminators       `json:"terminator"`
	Frame      *frameSettings    `json:"frame"`
	Checksum   *checksumSettings `json:"checksum"`
	MaxLine    int               `json:"max_line"`
	Late       *carrier.Duration `json:"late"`
	Open       []string          `json:"open"`
	Settle     carrier.Duration  `json:"settle"`

	address *carrier.Address
	form    *blockForm // nil: lines of text
	sum     *checksum  // of lines; nil: none
}

// deviceSettings are the keys of a device.
type deviceSettings struct {
	Vars     map[string]varText `json:"vars"`
	Requests map[string]talk    `json:"requests"`
	Lines    map[string]talk    `json:"lines"`
	Writes   map[string]talk    `json:"writes"`
}

// talk is one request, line or write; not every key is allowed in each.
type talk struct {
	Send   string `json:"send"`
	Expect string `json:"expect"`
	Refuse string `json:"refuse"`
	Split  string `json:"split"`

	SendHex   string `json:"send_hex"`
	ExpectHex string `json:"expect_hex"`
}

// varText is the value of a variable: text, or a number as it is written.
type varText string

func (v *varText) UnmarshalJSON(b []byte) error {
	var s string
	var n json.Number
	if json.Unmarshal(b, &s) == nil {
		*v = varText(s)
		return nil
	}
	if json.Unmarshal(b, &n) == nil {
		*v = varText(n)
		return nil
	}
	return fmt.Errorf("a variable is a text or a number, not %s", b)
}

const (
	maxMaxLine = 1 << 20
	// maxSettle bounds how long an instrument needs after its port was opened: the engine gives
	// an opening ten seconds.
	maxSettle = 8 * time.Second
	maxOpen   = 16 // lines
)

func parseLink(cfg driver.LinkConfig) (*linkSettings, error) {
	s := &linkSettings{Settings: carrier.Defaults("none"), MaxLine: 1024}
	if err := driver.DecodeSettings(cfg.Settings, s); err != nil {
		return nil, &driver.ConfigError{Text: err.Error()}
	}
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, &driver.ConfigError{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	address, err := carrier.Parse(s.Port, s.Settings, carrier.Options{Key: "port"})
	errs = append(errs, err)
	s.address = address
	if address != nil && address.Datagrams() {
		wrong("port", "%q: a datagram may be lost or come twice, which a line of bytes does not allow: use tcp://", s.Port)
	}
	if s.IdleClose > 0 {
		wrong("idle_close", "an instrument may speak at any time: the port stays open")
	}
	s.Terminator.complete(s.Frame != nil, wrong)
	if s.MaxLine < 1 || s.MaxLine > maxMaxLine {
		wrong("max_line", "%d is not within 1 and %d", s.MaxLine, maxMaxLine)
	}
	if s.Late != nil && *s.Late < 0 {
		wrong("late", "%v is negative", time.Duration(*s.Late))
	}
	if s.Settle < 0 || time.Duration(s.Settle) > maxSettle {
		wrong("settle", "%v is not within 0s and %v", time.Duration(s.Settle), maxSettle)
	}
	if len(s.Open) > maxOpen {
		wrong("open", "%d lines are more than %d", len(s.Open), maxOpen)
	}
	s.compileFrame(wrong)
	return s, errors.Join(errs...)
}

// request is a compiled request or write.
type request struct {
	device string
	name   string
	send   template
	answer extractor
	refuse *pattern

	// silent is set when the last one timed out. The engine serialises calls.
	silent bool
}

// awaits reports whether there is an answer to wait for.
func (r *request) awaits() bool {
	return r.answer.expect != nil || r.answer.head != nil || r.refuse != nil
}

// compiler compiles the settings of one device and gathers what is wrong.
type compiler struct {
	device string
	vars   map[string]string
	errs   []error
}

// wrong takes down an error at a key such as requests.measure.send. The error points at the
// place of the first word in the configuration, and names the rest.
func (c *compiler) wrong(key string, err error) {
	if err == nil {
		return
	}
	top, below, nested := strings.Cut(key, ".")
	what := err.Error()
	if nested {
		what = below + ": " + what
	}
	c.errs = append(c.errs, &driver.ConfigError{Device: c.device, Key: top, Text: what})
}

// setVars checks the names of the variables.
func (c *compiler) setVars(vars map[string]varText) {
	c.vars = make(map[string]string, len(vars))
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !variable.MatchString(name) || name == "value" {
			c.wrong("vars."+name, fmt.Errorf("%q can't be the name of a variable", name))
		}
		c.vars[name] = string(vars[name])
	}
}

// send compiles what is sent. The terminator is not part of it.
func (c *compiler) send(key string, t talk, terminator string) template {
	if t.SendHex != "" {
		if t.Send != "" {
			c.wrong(key, errors.New("send and send_hex say two things: leave one of them out"))
		}
		raw, err := parseHex(c.expand(t.SendHex))
		c.wrong(key+".send_hex", err)
		return template{{text: string(raw)}}
	}
	send, err := parseTemplate(t.Send, c.vars)
	c.wrong(key+".send", err)
	ends := func(p part) bool { return terminator != "" && strings.Contains(p.text, terminator) }
	if slices.ContainsFunc(send, ends) {
		c.wrong(key+".send", errors.New("send holds the terminator, which is added by itself"))
	}
	return send
}

// expand puts the variables into hexadecimal text.
func (c *compiler) expand(s string) string {
	for name, value := range c.vars {
		s = strings.ReplaceAll(s, "{"+name+"}", value)
	}
	return s
}

// extractor compiles what an answer or a line looks like, and how it is taken apart.
func (c *compiler) extractor(key string, t talk) extractor {
	x := extractor{expect: c.pattern(key+".expect", t.Expect), split: t.Split}
	if t.ExpectHex != "" {
		var err error
		x.head, err = parseHead(c.expand(t.ExpectHex))
		c.wrong(key+".expect_hex", err)
	}
	return x
}

// pattern compiles expect or refuse; an empty one is nil.
func (c *compiler) pattern(key, expr string) *pattern {
	if expr == "" {
		return nil
	}
	p, err := parsePattern(expr, c.vars)
	if err != nil {
		c.wrong(key, err)
		return &pattern{}
	}
	return p
}

// talks compiles one of the maps of a device, in the order of the names.
func (c *compiler) talks(what string, list map[string]talk, compile func(key, name string, t talk) *request) map[string]*request {
	done := make(map[string]*request, len(list))
	for _, name := range slices.Sorted(maps.Keys(list)) {
		key := what + "." + name
		if strings.ContainsAny(name, ": =") || name == "" {
			c.wrong(key, fmt.Errorf("%q can't be a name here: it has a colon, a space or an equals sign", name))
		}
		done[name] = compile(key, name, list[name])
	}
	return done
}
