package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// TestUnwrittenNote: a core that was killed while it made a note leaves an empty one, which
// is removed; one that is damaged is an error, and removed too.
func TestUnwrittenNote(t *testing.T) {
	for content, wrong := range map[string]bool{"": false, "{": true, `{"pid":0}`: true} {
		dir := t.TempDir()
		path := wire.NoteOf(dir, filepath.Join(dir, socketDirPrefix+"1"))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		notes, err := readNotes(dir)
		if len(notes) > 0 || (err != nil) != wrong {
			t.Errorf("%q: %v, %v", content, notes, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%q: the note is still there", content)
		}
	}
}
