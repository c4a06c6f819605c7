# frozen_string_literal: true

# The benchmarks, which are not tests: bench/README.md explains them. BENCH holds options of bench/run.

desc "Measure the server and its peers side by side (BENCH='--scenarios steady --rounds 1')"
task(:bench) { sh "#{File.expand_path('../bench/run', __dir__)} #{ENV.fetch('BENCH', '')}" }
