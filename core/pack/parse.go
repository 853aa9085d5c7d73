package pack

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ParseManifest reads a manifest strictly: no unknown key, none twice, every value
// of its kind and in its limits. The error names line and column.
func ParseManifest(data []byte) (*Manifest, error) {
	r := &reader{name: ManifestName}
	return r.manifest(data)
}

// A reader reads a manifest's values and keeps the first fault.
type reader struct {
	name   string // of the file, for errors
	draft  bool   // an author's draft: files, serial and platforms come later
	schema func(*value) (json.RawMessage, error)
	err    error
}

func (r *reader) manifest(data []byte) (*Manifest, error) {
	if len(data) > maxManifest {
		return nil, fmt.Errorf("%s: is larger than %d bytes", r.name, maxManifest)
	}
	root, err := parseJSON(data)
	if err != nil {
		return nil, place(r.name, data, err)
	}
	m := r.root(root)
	if r.err != nil {
		return nil, place(r.name, data, r.err)
	}
	return m, nil
}

func (r *reader) root(v *value) *Manifest {
	needed := []string{"name", "version", "kind", "serial", "api", "platforms", "files"}
	if r.draft {
		needed = []string{"name", "version", "api"}
	}
	r.object(v, "the manifest", needed, "name", "version", "kind", "serial", "api", "platforms", "files", "schemas", "endpoints", "wants")
	m := &Manifest{Kind: KindDriver, Platforms: map[string]string{}, Files: map[string]File{}}
	m.Name = r.text(v.get("name"), CheckName)
	m.Version = r.text(v.get("version"), CheckVersion)
	if k := v.get("kind"); k != nil {
		m.Kind = r.text(k, checkKind)
	}
	least := int64(1)
	if r.draft {
		least = 0 // not signed yet
	}
	m.Serial = uint64(r.number(v.get("serial"), least, 1<<62))
	m.API = r.api(v.get("api"))
	r.files(m, v.get("files"))
	r.platforms(m, v.get("platforms"))
	r.schemas(&m.Schemas, v.get("schemas"))
	m.Endpoints = r.endpoints(v.get("endpoints"))
	r.wants(&m.Wants, v.get("wants"))
	return m
}

func checkKind(kind string) error {
	if kind != KindDriver {
		return fmt.Errorf("kind is %s: this fieldloom knows %q only", quote(kind), KindDriver)
	}
	return nil
}

func (r *reader) fail(v *value, format string, args ...any) {
	if r.err == nil {
		r.err = &placed{v.at, fmt.Sprintf(format, args...)}
	}
}

// object checks that v is an object that has the needed keys and no key but the known.
func (r *reader) object(v *value, what string, needed []string, known ...string) bool {
	if v.kind != '{' {
		r.fail(v, "%s must be an object", what)
		return false
	}
	for i := range v.members {
		if !contains(known, v.members[i].key) {
			r.fail(&value{at: v.members[i].at}, "%s has no key %s: it may have %s", what, quote(v.members[i].key), strings.Join(known, ", "))
		}
	}
	for _, key := range needed {
		if v.get(key) == nil {
			r.fail(v, "%s has no key %q", what, key)
		}
	}
	return r.err == nil
}

func contains(list []string, text string) bool {
	for _, l := range list {
		if l == text {
			return true
		}
	}
	return false
}

func (r *reader) text(v *value, check func(string) error) string {
	if v == nil {
		return ""
	}
	if v.kind != '"' {
		r.fail(v, "must be a text")
		return ""
	}
	if err := check(v.text); err != nil {
		r.fail(v, "%s", err)
	}
	return v.text
}

func (r *reader) number(v *value, least, most int64) int64 {
	if v == nil {
		return 0
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	if v.kind != '0' || err != nil || n < least || n > most {
		r.fail(v, "must be a whole number from %d to %d", least, most)
	}
	return n
}

func (r *reader) truth(v *value) bool {
	if v == nil {
		return false
	}
	if v.kind != 't' {
		r.fail(v, "must be true or false")
	}
	return v.text == "true"
}

func (r *reader) api(v *value) (a API) {
	if v == nil || !r.object(v, "api", []string{"min", "max"}, "min", "max") {
		return a
	}
	a = API{int(r.number(v.get("min"), 1, 1000)), int(r.number(v.get("max"), 1, 1000))}
	if a.Min > a.Max {
		r.fail(v, "api.min is above api.max")
	}
	return a
}

func (r *reader) files(m *Manifest, v *value) {
	if v == nil {
		return
	}
	if v.kind != '{' {
		r.fail(v, "files must be an object")
		return
	}
	if len(v.members) > maxFiles {
		r.fail(v, "files has %d entries: at most %d are taken", len(v.members), maxFiles)
		return
	}
	var total int64
	for _, f := range v.members {
		if err := checkPath(f.key); err != nil {
			r.fail(&value{at: f.at}, "%s", err)
		}
		m.Files[f.key] = r.file(f.value)
		if total += m.Files[f.key].Size; total > maxTotal {
			r.fail(v, "files are larger than %d bytes together", maxTotal)
			return
		}
	}
}

func (r *reader) file(v *value) (f File) {
	if !r.object(v, "a file", []string{"sha256", "size", "mode"}, "sha256", "size", "mode") {
		return f
	}
	r.text(v.get("sha256"), func(s string) error {
		sum, err := hex.DecodeString(s)
		if err != nil || len(sum) != len(f.SHA256) || s != strings.ToLower(s) {
			return fmt.Errorf("%s is no SHA-256: it has 64 digits of 0-9 and a-f", quote(s))
		}
		copy(f.SHA256[:], sum)
		return nil
	})
	f.Size = r.number(v.get("size"), 0, maxFile)
	r.text(v.get("mode"), func(s string) error {
		switch s {
		case "0755", "0644":
			mode, err := strconv.ParseUint(s, 8, 32)
			f.Mode = fs.FileMode(mode)
			return err
		}
		return fmt.Errorf("the mode %s is not taken: it is \"0755\" or \"0644\"", quote(s))
	})
	return f
}

func (r *reader) platforms(m *Manifest, v *value) {
	if v == nil {
		return
	}
	if v.kind != '{' || len(v.members) == 0 && !r.draft {
		r.fail(v, "platforms must be an object with at least one platform")
		return
	}
	for _, p := range v.members {
		if err := checkPlatform(p.key); err != nil {
			r.fail(&value{at: p.at}, "%s", err)
		}
		m.Platforms[p.key] = r.text(p.value, func(path string) error {
			if f, ok := m.Files[path]; !r.draft && (!ok || f.Mode != 0o755) {
				return fmt.Errorf("the executable %s is not among the files with mode 0755", quote(path))
			}
			return checkPath(path)
		})
	}
}

func checkPlatform(name string) error {
	system, machine, ok := strings.Cut(name, "/")
	if !ok || !isWord(system, 16, "") || !isWord(machine, 16, "") {
		return fmt.Errorf("%s is no platform: write it as linux/amd64", quote(name))
	}
	return nil
}

func (r *reader) schemas(s *Schemas, v *value) {
	if v == nil || !r.object(v, "schemas", nil, "link", "device", "address") {
		return
	}
	s.Link, s.Device, s.Address = r.rawSchema(v.get("link")), r.rawSchema(v.get("device")), r.rawSchema(v.get("address"))
}

func (r *reader) rawSchema(v *value) json.RawMessage {
	switch {
	case v == nil:
		return nil
	case r.schema != nil && v.kind == '"':
		raw, err := r.schema(v)
		if err != nil {
			r.fail(v, "%s", err)
		}
		return raw
	case v.kind != '{' && v.kind != 't':
		r.fail(v, "a JSON Schema must be an object")
	}
	return compact(v.raw)
}

func (r *reader) wants(w *Wants, v *value) {
	if v == nil || !r.object(v, "wants", nil, "serial", "tcp", "udp", "unix", "files", "write", "memory", "processes") {
		return
	}
	w.Serial, w.Unix = r.truth(v.get("serial")), r.truth(v.get("unix"))
	w.Files, w.Write = r.places(v.get("files")), r.places(v.get("write"))
	w.Memory, w.Processes = r.number(v.get("memory"), 1<<20, 1<<50), int(r.number(v.get("processes"), 1, 1<<22))
	w.TCP = r.ports(v.get("tcp"), fmt.Sprintf("wants.tcp must be %q or a list of ports", fromLinks))
	switch udp := v.get("udp"); {
	case udp != nil && udp.kind == 't':
		w.UDP.Any = udp.text == "true"
	default:
		w.UDP = r.ports(udp, fmt.Sprintf("must be true or false, %q, or a list of ports", fromLinks))
	}
}

// ports reads "from-links" or a list; fault is the error for anything else.
func (r *reader) ports(v *value, fault string) (p Ports) {
	switch {
	case v == nil:
	case v.kind == '"' && v.text == fromLinks:
		p.FromLinks = true
	case v.kind == '[' && len(v.items) <= maxFiles:
		for _, item := range v.items {
			p.List = append(p.List, uint16(r.number(item, 1, 65535)))
		}
	default:
		r.fail(v, "%s", fault)
	}
	return p
}

// endpoints reads what the texts of a driver's settings name.
func (r *reader) endpoints(v *value) Endpoints {
	if v == nil {
		return nil
	}
	if v.kind != '{' || len(v.members) > maxEndpoints {
		r.fail(v, "endpoints must be an object with at most %d schemes", maxEndpoints)
		return nil
	}
	all := make(Endpoints, len(v.members))
	for _, member := range v.members {
		if !schemeForm.MatchString(member.key) && member.key != HostPort {
			r.fail(&value{at: member.at}, "%s is no scheme of URLs: write it as tcp, without ://, in lower case, or as %q for texts without a scheme", quote(member.key), HostPort)
		}
		all[member.key] = r.scheme(member.key, member.value)
	}
	return all
}

func (r *reader) scheme(name string, v *value) (s Scheme) {
	if !r.object(v, "a scheme", []string{"over"}, "over", "port", "tls") {
		return s
	}
	s.Over = Over(r.text(v.get("over"), func(text string) error {
		if !slices.Contains(ways, Over(text)) {
			return fmt.Errorf("%s is no way to an endpoint: write tcp, udp, serial, file, unix or nothing", quote(text))
		}
		if name == HostPort && !Over(text).hasPort() && Over(text) != OverNothing {
			return fmt.Errorf("%q goes over tcp or udp", HostPort)
		}
		return nil
	}))
	if port := v.get("port"); port != nil {
		if !s.Over.hasPort() || name == HostPort {
			r.fail(port, "only a scheme over tcp or udp has a default port")
		}
		s.Port = uint16(r.number(port, 1, 65535))
	}
	if s.TLS = r.truth(v.get("tls")); s.TLS && !s.Over.hasPort() {
		r.fail(v.get("tls"), "only a scheme over tcp or udp speaks TLS")
	}
	return s
}

// places reads absolute paths of the machine.
func (r *reader) places(v *value) (paths []string) {
	if v == nil {
		return nil
	}
	if v.kind != '[' || len(v.items) > maxFiles {
		r.fail(v, "must be a list of at most %d paths", maxFiles)
		return nil
	}
	for _, item := range v.items {
		paths = append(paths, r.text(item, func(path string) error {
			if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsAny(path, "\x00\n") {
				return fmt.Errorf("%s is no plain absolute path", quote(path))
			}
			return nil
		}))
	}
	return paths
}
