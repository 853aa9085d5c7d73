package gateway

import (
	"path/filepath"

	"github.com/fieldloom/fieldloom/core/internal/audit"
)

// AuditDir is where a gateway with this data directory keeps who wrote what.
func AuditDir(data string) string { return filepath.Join(data, audit.DirName) }

// An AuditEntry is one line of the audit log.
type AuditEntry = audit.Entry

// Audit calls each for every line of the audit log in a data directory, and checks the
// chain of their hashes. No gateway need run.
func Audit(data string, each func(*AuditEntry) error) (*audit.Report, error) {
	return audit.Read(AuditDir(data), each)
}
