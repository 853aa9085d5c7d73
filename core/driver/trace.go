package driver

import (
	"context"
	"encoding/hex"
	"log/slog"
	"unicode"
	"unicode/utf8"
)

// maxTraced is how many bytes of one step LogBytes shows.
const maxTraced = 260

// LogBytes logs at level debug what crossed the wire: what says which way ("sent",
// "received"), device whose it was, empty where nobody knows. The bytes are in hex, and as
// text where they are text; of many only the first. While the level is above debug, or log is
// nil, it does nothing and allocates nothing. It does not keep b. What has a secret in it is
// not to be given to it.
func LogBytes(log *slog.Logger, what, device string, b []byte) {
	if !Debugs(log) {
		return
	}
	n := len(b)
	b = b[:min(n, maxTraced)]
	attributes := make([]slog.Attr, 0, 4)
	if device != "" {
		attributes = append(attributes, slog.String("device", device))
	}
	attributes = append(attributes, slog.Int("length", n), slog.String("bytes", hex.EncodeToString(b)))
	if isText(b) {
		attributes = append(attributes, slog.String("text", string(b)))
	}
	log.LogAttrs(context.Background(), slog.LevelDebug, what, attributes...)
}

// Debugs reports whether log shows level debug. It allocates nothing.
func Debugs(log *slog.Logger) bool {
	return log != nil && log.Enabled(context.Background(), slog.LevelDebug)
}

// isText reports whether b can be read. Its end may be in the middle of a character.
func isText(b []byte) bool {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 && utf8.FullRune(b[i:]) {
			return false
		}
		if r != utf8.RuneError && !unicode.IsPrint(r) && r != '\r' && r != '\n' && r != '\t' {
			return false
		}
		i += size
	}
	return len(b) > 0
}
