package inventory

import (
	"bytes"

	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format gives the canonical form of an inventory: indentation, aligned equals
// signs, one newline at the end. Only white space changes. The path is for the
// error, which is Diagnostics where src is no valid HCL.
func Format(path string, src []byte) ([]byte, error) {
	d := &decoder{src: src}
	if !d.parse(path) {
		return nil, sortDiagnostics(d.diags)
	}
	formatted := bytes.TrimRight(hclwrite.Format(src), "\n")
	if len(formatted) == 0 {
		return nil, nil
	}
	return append(formatted, '\n'), nil
}
