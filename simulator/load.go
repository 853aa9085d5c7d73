package simulator

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/fieldloom/fieldloom/simulator/internal/document"
)

// Load reads a config file; the package comment describes it. The error lists everything that
// is wrong, a line each: `file:line:column: path: what`.
func Load(path string) (*Config, error) {
	doc, root, err := document.Open(path)
	if err != nil {
		return nil, err
	}
	return load(doc, root, filepath.Dir(path))
}

// loader turns a document into a Config.
type loader struct {
	dir     string // of the file: relative paths in it start there
	images  map[string]*Image
	places  map[string]document.Value // of devices, by name
	servers []document.Value
	steps   []document.Value
	cfg     Config
}

func load(doc *document.Document, root document.Value, dir string) (*Config, error) {
	l := &loader{dir: dir, images: make(map[string]*Image), places: make(map[string]document.Value)}
	var servers, schedule []document.Value
	root.Fields(map[string]func(document.Value){
		"servers":  func(v document.Value) { servers = append(servers, v) },
		"images":   func(v document.Value) { v.Each(l.image) },
		"schedule": func(v document.Value) { schedule = append(schedule, v) },
		"times":    func(v document.Value) { l.cfg.Times = int(v.Int(1, 1<<28)) },
	})
	// What names other things is read after them, wherever it stands.
	for _, v := range servers {
		v.Each(l.server)
	}
	for _, v := range schedule {
		v.List(l.scheduled)
	}
	if len(l.cfg.Servers) == 0 && !doc.Failed() {
		root.Errorf("there is no server: servers needs at least one")
	}
	if !doc.Failed() {
		l.check()
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	return &l.cfg, nil
}

// check builds everything once, as Run will, and complains at the right places.
func (l *loader) check() {
	s := &Simulator{servers: make(map[string]*Server), devices: make(map[string]*Device)}
	images := make(imageCache)
	for i := range l.cfg.Servers {
		c := &l.cfg.Servers[i]
		srv, err := s.newServer(c, images)
		var at *deviceError
		switch {
		case errors.As(err, &at):
			l.places[at.device].Errorf("%v", at.err)
		case err != nil:
			l.servers[i].Errorf("%v", err)
		default:
			s.servers[c.Name] = srv
		}
	}
	for i, c := range l.cfg.Schedule {
		if _, _, err := s.target(c); err != nil {
			l.steps[i].Errorf("%v", err)
		}
	}
}

func (l *loader) server(name string, v document.Value) {
	c := ServerConfig{Name: name, Protocol: Modbus}
	ok := v.Fields(map[string]func(document.Value){
		"protocol":  func(v document.Value) { c.Protocol = Protocol(v.Text()) },
		"listen":    func(v document.Value) { c.Listen = v.Text() },
		"recording": func(v document.Value) { c.Recording = l.file(v) },
		"framing":   func(v document.Value) { c.Framing = v.Text() },
		"over":      func(v document.Value) { c.Over = v.Text() },
		"link":      func(v document.Value) { c.Line.Link = l.file(v) },
		"baud":      func(v document.Value) { c.Line.Baud = int(v.Int(1, 10_000_000)) },
		"end":       func(v document.Value) { c.Line.End = v.Text() },
		"ends":      func(v document.Value) { c.Line.Ends = v.Text() },
		"bytes":     func(v document.Value) { c.Line.Bytes = v.Bool() },
		"sum":       func(v document.Value) { c.Line.Sum = v.Text() },
		"from":      func(v document.Value) { c.Line.From = int(v.Int(0, 1024)) },
		"alone":     func(v document.Value) { c.Line.Alone = v.Bool() },
		"devices": func(v document.Value) {
			v.Each(func(name string, v document.Value) { c.Devices = append(c.Devices, l.device(name, v)) })
		},
	})
	if ok && len(c.Devices) == 0 && c.Protocol != Playback {
		v.Errorf("a server needs devices")
	}
	l.cfg.Servers = append(l.cfg.Servers, c)
	l.servers = append(l.servers, v)
}

// file returns a path, relative ones from where the config file is.
func (l *loader) file(v document.Value) string {
	path := v.Text()
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(l.dir, path)
}

func (l *loader) device(name string, v document.Value) DeviceConfig {
	c := DeviceConfig{Name: name}
	if _, double := l.places[name]; double {
		v.Errorf("a device of this name is on another server")
	}
	l.places[name] = v
	v.Fields(map[string]func(document.Value){
		"unit":   func(v document.Value) { c.Unit = byte(v.Int(1, 255)) },
		"seed":   func(v document.Value) { c.Seed = uint64(v.Int(1, 1<<62)) },
		"image":  func(v document.Value) { c.Image = l.named(v) },
		"points": func(v document.Value) { c.Points = l.points(v) },
		"set":    func(v document.Value) { c.Set = v.Text() },
		"publish": func(v document.Value) {
			v.List(func(v document.Value) { c.Publish = append(c.Publish, publication(v)) })
		},
		"exchange": func(v document.Value) {
			v.List(func(v document.Value) { c.Exchange = append(c.Exchange, exchangeOf(v)) })
		},
		"send": func(v document.Value) { v.List(func(v document.Value) { c.Send = append(c.Send, telegram(v)) }) },
	})
	return c
}

// named returns an image of the file.
func (l *loader) named(v document.Value) *Image {
	name := v.Text()
	img, ok := l.images[name]
	if !ok {
		v.Errorf("there is no image %q: images has none of this name", name)
	}
	return img
}

func (l *loader) image(name string, v document.Value) {
	img := &Image{}
	registers := 0
	ok := v.Fields(map[string]func(document.Value){
		"registers": func(v document.Value) { registers = int(v.Int(2, 1<<16)) },
		"ranges": func(v document.Value) {
			v.List(func(v document.Value) { img.Ranges = append(img.Ranges, addresses(v)) })
		},
		"illegal": func(v document.Value) {
			v.List(func(v document.Value) { img.Illegal = append(img.Illegal, addresses(v)) })
		},
		"points": func(v document.Value) { img.Points = l.points(v) },
	})
	if registers > 0 {
		standard := StandardImage(registers)
		img.Points = append(standard.Points, img.Points...)
		img.Ranges = append(standard.Ranges, img.Ranges...)
	}
	if _, err := img.compile(); ok && err != nil {
		v.Errorf("%v", err)
	}
	l.images[name] = img
}

func addresses(v document.Value) string {
	text := v.Text()
	if _, _, err := parseAddresses(text); err != nil {
		v.Errorf("%v", err)
	}
	return text
}

func (l *loader) points(v document.Value) []Point {
	var list []Point
	v.Each(func(name string, v document.Value) {
		p := Point{Name: name}
		v.Fields(map[string]func(document.Value){
			"address":  func(v document.Value) { p.Address = addresses(v) },
			"type":     func(v document.Value) { p.Type = v.Text() },
			"order":    func(v document.Value) { p.Order = v.Text() },
			"length":   func(v document.Value) { p.Length = int(v.Int(1, 250)) },
			"signal":   func(v document.Value) { p.Signal = l.signal(v) },
			"writable": func(v document.Value) { p.Writable = v.Bool() },
		})
		list = append(list, p)
	})
	return list
}

func publication(v document.Value) Publication {
	p := Publication{Every: time.Second}
	v.Fields(map[string]func(document.Value){
		"topic":   func(v document.Value) { p.Topic = v.Text() },
		"payload": func(v document.Value) { p.Payload = v.Text() },
		"every":   func(v document.Value) { p.Every = v.Duration() },
		"qos":     func(v document.Value) { p.QoS = byte(v.Int(0, 1)) },
		"retain":  func(v document.Value) { p.Retain = v.Bool() },
	})
	return p
}

func exchangeOf(v document.Value) Exchange {
	var e Exchange
	v.Fields(map[string]func(document.Value){
		"match": func(v document.Value) { e.Match = v.Text() },
		"reply": func(v document.Value) { e.Reply = v.Text() },
	})
	return e
}

func telegram(v document.Value) Telegram {
	t := Telegram{Every: time.Second}
	v.Fields(map[string]func(document.Value){
		"line":  func(v document.Value) { t.Line = v.Text() },
		"every": func(v document.Value) { t.Every = v.Duration() },
	})
	return t
}

func (l *loader) scheduled(v document.Value) {
	var s Scheduled
	v.Fields(map[string]func(document.Value){
		"server":   func(v document.Value) { s.Server = v.Text() },
		"device":   func(v document.Value) { s.Device = v.Text() },
		"fault":    func(v document.Value) { s.Fault.Kind = FaultKind(v.Text()) },
		"delay":    func(v document.Value) { s.Fault.Delay = v.Duration() },
		"code":     func(v document.Value) { s.Fault.Code = byte(v.Int(1, 255)) },
		"range":    func(v document.Value) { s.Fault.Range = addresses(v) },
		"most":     func(v document.Value) { s.Fault.Most = int(v.Int(1, 1<<16)) },
		"function": func(v document.Value) { s.Fault.Function = byte(v.Int(1, 127)) },
		"every":    func(v document.Value) { s.Fault.Every = int(v.Int(1, 1<<30)) },
		"at":       func(v document.Value) { s.At = v.Duration() },
		"for":      func(v document.Value) { s.For = v.Duration() },
	})
	l.cfg.Schedule = append(l.cfg.Schedule, s)
	l.steps = append(l.steps, v)
}
