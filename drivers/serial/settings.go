package serial

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// linkSettings are the keys of a link.
type linkSettings struct {
	Port       string    `json:"port"`
	Baud       int       `json:"baud"`
	DataBits   int       `json:"data_bits"`
	Parity     string    `json:"parity"`
	StopBits   int       `json:"stop_bits"`
	Terminator string    `json:"terminator"`
	MaxLine    int       `json:"max_line"`
	Late       *duration `json:"late"`
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

// duration is a time.Duration that is written as 100ms or 2s.
type duration time.Duration

func (d *duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a time such as \"100ms\" expected, not %s", b)
	}
	v, err := time.ParseDuration(s)
	if v == 0 && err == nil && strings.ContainsAny(s, "123456789") {
		return fmt.Errorf("%q would be 0: the shortest time is 1ns", s)
	}
	*d = duration(v)
	return err
}

const maxMaxLine = 1 << 20

func parseLink(cfg driver.LinkConfig) (*linkSettings, error) {
	s := &linkSettings{Baud: 9600, DataBits: 8, Parity: "none", StopBits: 1, Terminator: "\r\n", MaxLine: 1024}
	if err := driver.DecodeSettings(cfg.Settings, s); err != nil {
		return nil, &driver.ConfigError{Text: err.Error()}
	}
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, &driver.ConfigError{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if !filepath.IsAbs(s.Port) {
		wrong("port", "%q is no absolute path: give the device file, for example /dev/ttyUSB0", s.Port)
	}
	if s.Baud < 50 || s.Baud > 4_000_000 {
		wrong("baud", "%d is not within 50 and 4000000", s.Baud)
	}
	if s.DataBits < 5 || s.DataBits > 8 {
		wrong("data_bits", "%d is not 5, 6, 7 or 8", s.DataBits)
	}
	if _, ok := parities[s.Parity]; !ok {
		wrong("parity", "%q is not none, odd, even, mark or space", s.Parity)
	}
	if s.StopBits != 1 && s.StopBits != 2 {
		wrong("stop_bits", "%d is not 1 or 2", s.StopBits)
	}
	if n := len(s.Terminator); n < 1 || n > 8 {
		wrong("terminator", "%q is not 1 to 8 bytes long", s.Terminator)
	}
	if s.MaxLine < 1 || s.MaxLine > maxMaxLine {
		wrong("max_line", "%d is not within 1 and %d", s.MaxLine, maxMaxLine)
	}
	if s.Late != nil && *s.Late < 0 {
		wrong("late", "%v is negative", time.Duration(*s.Late))
	}
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
func (r *request) awaits() bool { return r.answer.expect != nil || r.refuse != nil }

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

// send compiles a send template. The terminator is not part of it.
func (c *compiler) send(key string, t talk, terminator string) template {
	send, err := parseTemplate(t.Send, c.vars)
	c.wrong(key+".send", err)
	ends := func(p part) bool { return terminator != "" && strings.Contains(p.text, terminator) }
	if slices.ContainsFunc(send, ends) {
		c.wrong(key+".send", errors.New("send holds the terminator, which is added by itself"))
	}
	return send
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
