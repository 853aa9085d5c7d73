package apifuzz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// A call is one request as it goes out.
type call struct {
	operation
	care   care
	target string
	body   []byte
	header http.Header
}

func (c *call) String() string {
	return fmt.Sprintf("%s %.300q, a body of %d bytes %.400q, %v", c.method, c.target, len(c.body), c.body, c.header)
}

// make makes a call of an operation.
func (m *maker) make(o operation, archive []byte) *call {
	c := &call{operation: o, care: care(m.IntN(3)), header: make(http.Header)}
	path, query := o.path, url.Values{}
	for _, p := range o.Parameters {
		switch {
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", m.segment(m.parameter(p, c.care)))
		case !p.Required && m.IntN(2) == 0:
		default:
			for range 1 + m.IntN(2) {
				query.Add(p.Name, m.parameter(p, c.care))
			}
		}
	}
	if c.care != valid && m.IntN(10) == 0 {
		query.Add(m.evil(), m.evil())
	}
	c.target = path
	if len(query) > 0 {
		c.target += "?" + query.Encode()
	}
	if c.care == hostile && m.IntN(8) == 0 {
		c.target += "?" + strings.Map(printable, m.evil()) // not encoded as it should be
	}
	if c.care != valid && m.IntN(12) == 0 {
		c.method = m.pick("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW")
	}
	for media, content := range o.Body.Content {
		c.header.Set("Content-Type", media)
		c.body = m.body(media, content.Schema, c.care, archive)
	}
	m.headers(c)
	return c
}

// printable is what may stand in the first line of a request.
func printable(r rune) rune {
	if r <= ' ' || r >= 0x7f {
		return '%'
	}
	return r
}

// segment encodes a text for a path, not always as it should be.
func (m *maker) segment(text string) string {
	if m.IntN(8) == 0 {
		return strings.Map(printable, text)
	}
	if text = url.PathEscape(text); text == "." || text == ".." || text == "" {
		return "x" + text
	}
	return text
}

func (m *maker) parameter(p parameter, c care) string {
	s := m.doc.resolve(p.Schema)
	if s.Type.first() == "array" {
		s = m.doc.resolve(s.Items)
	}
	if p.Example != nil && c == valid {
		return fmt.Sprint(p.Example)
	}
	switch v := m.value(s, c, 0).(type) {
	case string:
		return v
	case float64:
		return fmt.Sprintf("%.0f", v)
	default:
		text, _ := json.Marshal(v) // what is no JSON is no text either
		return string(text)
	}
}

func (m *maker) body(media string, s *schema, c care, archive []byte) []byte {
	var text []byte
	if strings.Contains(media, "json") {
		text = encode(m.value(s, c, 0))
	} else if text = archive; c != valid {
		text = []byte(m.evil())
	}
	if c == valid || len(text) == 0 {
		return text
	}
	switch m.IntN(12) {
	case 0: // cut off
		text = text[:m.IntN(len(text))]
	case 1: // a byte is another
		text = bytes.Clone(text)
		text[m.IntN(len(text))] = byte(m.Uint32())
	case 2:
		text = append(bytes.Clone(text), m.evil()...)
	case 3:
		text = nil
	case 4:
		text = []byte(strings.Repeat("[", 1<<m.IntN(18)))
	case 5:
		text = bytes.Repeat(text, 1+m.IntN(50))
	}
	return text
}

// encode writes JSON and, where that is asked for, what is none.
func encode(v any) []byte {
	switch v := v.(type) {
	case json.RawMessage:
		return v
	case map[string]any:
		parts := make([]string, 0, len(v))
		for name, item := range v {
			parts = append(parts, string(encode(name))+":"+string(encode(item)))
		}
		return []byte("{" + strings.Join(parts, ",") + "}")
	case []any:
		parts := make([]string, 0, len(v))
		for _, item := range v {
			parts = append(parts, string(encode(item)))
		}
		return []byte("[" + strings.Join(parts, ",") + "]")
	}
	text, _ := json.Marshal(v) // a text, a number, true, false or null
	return text
}

// headers are not always those of a friend.
func (m *maker) headers(c *call) {
	if c.care == valid || m.IntN(6) > 0 {
		return
	}
	name := m.pick("Content-Type", "Accept", "Content-Encoding", "Expect", "If-Match", "Range", "Accept-Encoding", "X-Forwarded-For")
	c.header.Set(name, m.pick("application/json", "text/plain", "application/cbor", "*/*", "gzip", "", "100-continue", "a/b;q=x", "application/json; charset=utf-16", "bytes=0-", "\"x\""))
}

// An answer is what came back, as far as it was read.
type answer struct {
	status int
	media  string
	body   []byte
}

// maxAnswer bounds what is read of one answer.
const maxAnswer = 1 << 20

// send sends a call, and reads what comes until ctx is done. The error is of a
// connection that broke; a stream that goes on is none.
func (c *call) send(ctx context.Context, h *http.Client) (*answer, error) {
	r := &http.Request{Method: c.method, URL: &url.URL{Scheme: "http", Host: "fieldloom", Opaque: "//fieldloom" + c.target}, Host: "fieldloom",
		Header: c.header, Body: io.NopCloser(bytes.NewReader(c.body)), ContentLength: int64(len(c.body))}
	if len(c.body) == 0 {
		r.Body = http.NoBody
	}
	got, err := h.Do(r.WithContext(ctx))
	var theirs *url.Error
	if errors.As(err, &theirs) {
		return nil, theirs.Err // without the whole target
	}
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	a := &answer{status: got.StatusCode, media: got.Header.Get("Content-Type")}
	a.body, _ = io.ReadAll(io.LimitReader(got.Body, maxAnswer)) // a stream ends with ctx
	return a, nil
}
