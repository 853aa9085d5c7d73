package host

import (
	"path/filepath"
	"strings"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// removeHandDir removes the directory that a driver which was started by hand has made
// for itself. The driver wrote the record: it may name any directory.
func removeHandDir(r wire.Record) error {
	if !strings.HasPrefix(filepath.Base(r.Dir), wire.HandDirPrefix) {
		return nil
	}
	return removeDir(r.Dir)
}
