cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
}
mirror {
  apt      = "http://192.168.1.5/apt"
  registry = "http://me:hunter2@192.168.1.5"
}
