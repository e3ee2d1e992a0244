cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "nuc01" {
  address = "192.168.1.11"
}
