package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

// blockSize is the smallest that a namenode takes, in bytes
// (dfs.namenode.fs-limits.min-block-size).
const blockSize = 1 << 20

// hosts are the machines that hold the blocks of a file, one for each replica
// of each block.
func (b *bench) hosts(t *testing.T, path string) []string {
	t.Helper()
	out := b.ok(t, "kubectl", "-f", b.inventory(), "--", "get", "--raw",
		"/api/v1/namespaces/nucspark/pods/namenode-0:9870/proxy/webhdfs/v1"+path+"?op=GETFILEBLOCKLOCATIONS")
	var v struct {
		BlockLocations struct{ BlockLocation []struct{ Hosts []string } }
	}
	if err := json.Unmarshal([]byte(out.stdout), &v); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var all []string
	for _, block := range v.BlockLocations.BlockLocation {
		all = append(all, block.Hosts...)
	}
	return all
}

// putApart puts a file twice, in small blocks with one replica, so that each
// copy lies on a datanode of its own. Where a file goes is the namenode's
// choice: it is put again until it is right.
func (b *bench) putApart(t *testing.T, local, dir string) {
	t.Helper()
	first := ""
	for i := range 2 {
		for try := 1; ; try++ {
			to := fmt.Sprintf("%s/%d", dir, i)
			b.ok(t, "hdfs", "put", "-f", b.inventory(), "--force", "--replication", "1", "--block-size", "1Mi", local, to)
			at := slices.Compact(b.hosts(t, to))
			if len(at) == 1 && at[0] != first {
				first = at[0]
				break
			}
			if try == 20 { // by chance: once in a million
				t.Fatalf("%s lies at %v; the namenode sends every file to one datanode", to, at)
			}
		}
	}
}

// testLocality: tasks of the word count ran where their blocks are, one replica
// each. The history server reads that from the application's event log.
func (b *bench) testLocality(t *testing.T) {
	var id string
	eventually(t, 2*time.Minute, "the history server shows the word count", func() bool {
		id = b.application(t, "wordcount")
		return id != ""
	})
	var stages []struct {
		StageID, AttemptID, NumCompleteTasks int
		InputBytes                           int64
	}
	b.history(t, "/"+id+"/stages", &stages)
	for _, s := range stages {
		if s.NumCompleteTasks < 60 || s.InputBytes < 60*blockSize {
			continue
		}
		var tasks []struct{ TaskLocality, Status string }
		b.history(t, fmt.Sprintf("/%s/stages/%d/%d/taskList?length=1000", id, s.StageID, s.AttemptID), &tasks)
		seen := map[string]int{}
		for _, task := range tasks {
			if task.Status == "SUCCESS" {
				seen[task.TaskLocality]++
			}
		}
		near := seen["NODE_LOCAL"] + seen["PROCESS_LOCAL"]
		t.Logf("tasks by locality: %v", seen)
		if near*10 < s.NumCompleteTasks*9 {
			t.Errorf("%d of %d tasks ran where their block is, want 90 %%: %v", near, s.NumCompleteTasks, seen)
		}
		return
	}
	t.Errorf("no stage of %s read 60 blocks in as many tasks: %+v", id, stages)
}
