# frozen_string_literal: true

require "open3"
require "tmpdir"

# The environment, as the docs describe it.
RSpec.describe "The environment" do
  let(:table) { File.read(File.join(ROOT, "docs/server.md"))[/^## Environment variables\n(.*?)^## /m, 1] }
  let(:server) { File.join(ENV.fetch("CARGO_TARGET_DIR") { File.join(ROOT, "target") }, "debug/nodevent") }
  # Variables of tests, which are in the source next to what they test.
  let(:of_tests) { %w[NODEVENT_SURELY_UNSET NODEVENT_FUZZ_SECONDS NODEVENT_TOKEN_SECRET] }

  it "is listed in one table: every variable that the source reads, and no other" do
    generated = Dir.glob(File.join(ROOT, "lib/generators/**/*.{rb,tt}")).map { |file| File.read(file) }.join
    files = Dir.glob("{lib/**/*.{rb,tt,rake},exe/*,ext/nodevent/extconf.rb,server/src/**/*.rs}", base: ROOT)
    files.reject! { |file| file.end_with?("/tests.rs") }
    text = files.map { |file| File.read(File.join(ROOT, file)).lines.grep_v(%r{\A\s*(?:#|//)}).join }.join
    read = text.scan(/"(NODEVENT_[A-Z_]+)"/) + text.scan(/ENV\.(?:fetch|delete|key\?)\(?"([A-Z_]+)"/) +
           text.scan(/env::var(?:_os)?\("([A-Z_]+)"/) + generated.scan(/\$\{([A-Z]+_[A-Z_]+)/) +
           text.scan(/\b((?:NODEVENT|RAILS|RACK)_ENV)\b/) + text.scan(/const [A-Z]+: &str = "(TURTED_[A-Z_]+)"/)
    ours = read.flatten.uniq - of_tests - %w[PATH ORIGIN]
    expect(ours.size).to be > 10
    expect(table.scan(/`([A-Z]+(?:_[A-Z]+)*)`/).flatten.uniq).to match_array(ours)
  end

  it "is that of production in the systemd unit and in the image" do
    expect(File.read(File.join(ROOT, "packaging/nodevent.service"))).to match(/^Environment=NODEVENT_ENV=production$/)
    expect(File.read(File.join(ROOT, "packaging/Dockerfile"))).to match(/^ENV NODEVENT_ENV=production$/)
  end

  it "is reported as a whole if variables are missing in production" do
    Dir.mktmpdir do |folder|
      template = File.read(File.join(ROOT, "lib/generators/nodevent/install/templates/nodevent.yml.tt"))
      file = File.join(folder, "nodevent.yml")
      File.write(file, template.sub(/<%=.*?%>/, "0" * 32))
      environment = Children::CLEAN.merge("RAILS_ENV" => "production", "NODEVENT_SECRET" => nil, "NODEVENT_PUBLISH_KEY" => nil)
      out, status = Open3.capture2e(environment, server, "serve", file)
      expect(status.exitstatus).to eq(64)
      expect(out).to include("the environment has no NODEVENT_SECRET").and include("the environment has no NODEVENT_PUBLISH_KEY")
    end
  end
end
