# frozen_string_literal: true

module Bench
  module Scale
    # Costs that explain measurements best, with relative errors, and none of them negative.
    module LeastSquares
      module_function

      # @param rows [Array<Array<Float>>] how often each cost occurs in a measurement
      # @param values [Array<Float>] the measurements, or what of them is to be explained
      # @param scales [Array<Float>] the measurements, in whose shares errors count
      # @return [Array<Float>] the costs
      def solve(rows, values, scales = values)
        used = (0...rows.first.size).to_a
        loop do
          costs = fit(rows.map { |row| row.values_at(*used) }, values, scales)
          negative = used.zip(costs).select { |_, cost| cost.negative? }
          return spread(used, costs, rows.first.size) if negative.empty?

          used.delete(negative.min_by(&:last).first)
        end
      end

      # The normal equations, with each row divided by its scale.
      def fit(rows, values, scales)
        rows = rows.zip(scales).map { |row, scale| row.map { |one| one / scale } }
        values = values.zip(scales).map { |value, scale| value / scale }
        size = rows.first.size
        matrix = Array.new(size) do |i|
          right = rows.zip(values).sum { |row, value| row[i] * value }
          [*Array.new(size) { |j| rows.sum { |row| row[i] * row[j] } }, right]
        end
        eliminate(matrix)
      end

      # Gauss-Jordan elimination with pivoting.
      def eliminate(matrix)
        size = matrix.size
        size.times do |column|
          pivot = (column...size).max_by { |row| matrix[row][column].abs }
          matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
          factor = matrix[column][column]
          raise ArgumentError, "the measurements do not determine the costs" if factor.abs < 1e-12

          matrix[column] = matrix[column].map { |one| one / factor }
          clear_column(matrix, column)
        end
        matrix.map(&:last)
      end

      # Subtracts the row of a column from the others, so that it has the only value in that column.
      def clear_column(matrix, column)
        matrix.each_index do |row|
          next if row == column

          times = matrix[row][column]
          matrix[row] = matrix[row].zip(matrix[column]).map { |one, other| one - (times * other) }
        end
      end

      def spread(used, costs, size)
        all = Array.new(size, 0.0)
        used.zip(costs) { |index, cost| all[index] = cost }
        all
      end
    end
  end
end
