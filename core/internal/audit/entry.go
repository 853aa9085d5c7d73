package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// An Entry is one line.
type Entry struct {
	N      uint64    `json:"n"` // from 1, without holes
	Time   time.Time `json:"time"`
	Of     uint64    `json:"of,omitempty"`     // the line that asked, of one that says how it ended
	Missed uint64    `json:"missed,omitempty"` // lines before this one that could not be written
	Torn   bool      `json:"torn,omitempty"`   // the line before this one is part of one: the machine stopped while it was written

	User    string `json:"user,omitempty"` // who asked: the name, or the number, of the user
	UID     int    `json:"uid"`
	PID     int    `json:"pid,omitempty"`
	Program string `json:"program,omitempty"`
	From    string `json:"from,omitempty"` // from where: "local" for the socket

	Action string          `json:"action,omitempty"` // what was asked for where it is no write: Discovery
	Point  string          `json:"point"`            // LINK/DEVICE/POINT; of a discovery LINK
	Old    json.RawMessage `json:"old,omitempty"`    // the last value that was known
	New    json.RawMessage `json:"new,omitempty"`    // the value to write
	Result string          `json:"result"`           // Asked, Written, or the fault
	Prev   string          `json:"prev,omitempty"`   // the hash of the line before; empty in the very first
	Hash   string          `json:"hash,omitempty"`   // of the line up to this key
}

// Discovery is the action of asking a whole line who is there: New is where it was looked.
const Discovery = "discover"

// The results that are no faults.
const (
	Asked   = "asked"
	Written = "written"
)

// maxValue is how long a value may be that is kept as it is; of a longer one the hash is.
const maxValue = 4 << 10

// Value is a value as an entry has it.
func Value(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	if len(text) <= maxValue {
		return text
	}
	return fmt.Appendf(nil, `{"bytes":%d,"sha256":"%x"}`, len(text), sha256.Sum256(text))
}

const hashKey = `,"hash":"`

// encode returns the line, without its end, and sets the hash.
func (e *Entry) encode() ([]byte, error) {
	e.Hash = ""
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	e.Hash = hex.EncodeToString(sum[:])
	return append(append(append(text[:len(text)-1], hashKey...), e.Hash...), `"}`...), nil
}

// decode reads a line, and checks its hash.
func decode(line []byte) (*Entry, error) {
	cut := bytes.LastIndex(line, []byte(hashKey))
	if cut < 0 {
		return nil, fmt.Errorf("it has no hash")
	}
	e := new(Entry)
	if err := json.Unmarshal(line, e); err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	sum := sha256.Sum256(append(bytes.Clone(line[:cut]), '}'))
	if e.Hash != hex.EncodeToString(sum[:]) || !bytes.Equal(line[cut:], []byte(hashKey+e.Hash+`"}`)) {
		return nil, fmt.Errorf("its hash is not that of what it says: it was changed")
	}
	return e, nil
}
